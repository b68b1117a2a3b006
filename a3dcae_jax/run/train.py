"""Train the networks of a run: make the parts of the loop and run it."""

import itertools
import pathlib
import re
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.models.inputs import num_streams
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.run.feed import Feed
from a3dcae_jax.training import parallel, processes
from a3dcae_jax.training.checkpoints import Checkpoints, restored_for_all
from a3dcae_jax.training.hooks import Hook, MetricsFile, Progress, SaveCheckpoints
from a3dcae_jax.training.loop import NonFiniteLoss, fit
from a3dcae_jax.training.preemption import Preempted, PreemptionHandler
from a3dcae_jax.training.state import TrainState, init_state, make_optimizer


class _Start(NamedTuple):
  """The state from which training starts or resumes.

  Attributes:
    checkpoints: checkpoints of the run.
    state: state after `step` updates.
    step: number of updates that are done.
    meanwhile: see `train`.
  """

  checkpoints: Checkpoints
  state: TrainState
  step: int
  meanwhile: Callable[[], None]


def train(
  settings: fields.Config,
  workdir: pathlib.Path,
  feed: Feed,
  *,
  hooks: Sequence[Hook] = (),
  meanwhile: Callable[[], None] = lambda: None,
) -> int:
  """Train to `train.steps`, from the newest whole checkpoint if there is one.

  In a pod every process calls this; only the primary process touches `workdir`.

  Args:
    settings: settings of the run.
    workdir: folder of the run.
    feed: training examples and the update.
    hooks: hooks of the loop besides those of every run.
    meanwhile: called before the step is compiled, to start what may be done beside it.

  Returns:
    The last step.

  Raises:
    UserError: if a loss is not finite (the step is named, the last good checkpoint stays), or if
      the last checkpoint could not be written.
    Preempted: after SIGTERM or Ctrl-C, once the state is saved.
  """
  checkpoints = Checkpoints(
    pathlib.Path(workdir) / 'checkpoints', keep=settings.train.keep_checkpoints
  )
  try:
    start = time.monotonic()
    state, first_step = restored_for_all(checkpoints, lambda: fresh_state(settings))
    seconds = time.monotonic() - start
    if first_step >= settings.train.steps:
      processes.log_once(f'{workdir}: already trained, checkpoint at step {first_step}')
      return first_step
    if first_step:
      processes.log_once(
        f'{workdir}: resuming from the checkpoint of step {first_step}, read in {seconds:.2f} s'
      )
    begin = _Start(checkpoints, state, first_step, meanwhile)
    return _run(settings, workdir, feed, begin, hooks)
  except jax.errors.JaxRuntimeError as error:
    if not re.search('RESOURCE_EXHAUSTED|[Oo]ut of memory', str(error)):
      raise
    raise UserError(
      f'out of memory: lower train.batch_size (={settings.train.batch_size}), or set model.remat '
      'to blocks, which takes less memory and more time'
    ) from None
  finally:
    checkpoints.close()


def fresh_state(settings: fields.Config) -> TrainState:
  """Return the state before the first update."""
  streams = num_streams(settings.input.kind)
  generator, discriminator = make_networks(settings.model, streams=streams)
  optimizer = make_optimizer(settings.optimizer, settings.train.steps)
  return init_state(
    generator,
    discriminator if settings.loss.adversarial_weight else None,
    optimizer,
    clip_shape=clip_shape_of(settings),
    seed=settings.seed,
    streams=streams,
  )


def clip_shape_of(settings: fields.Config) -> tuple[int, int, int]:
  """Return (T, H, W) of the clips that the networks see, frames or crops."""
  image = (settings.data.height, settings.data.width)
  if settings.objects.detector:
    image = (settings.objects.crop_px,) * 2
  return (settings.clips.window, *image)


def _run(settings, workdir, feed, start, more_hooks):
  """Make the parts of the loop, run it, and check that the last state is saved."""
  options = settings.train
  check_batch_size(options.batch_size)
  processes.log_once(
    f'{feed.description}, {feed.input_pipeline}; {parallel.num_replicas()} x '
    f'{jax.local_devices()[0].device_kind}{_hosts(feed.input_pipeline)}; compiling ...'
  )
  shared = [parallel.replicate(array) for array in feed.shared]
  start = start._replace(state=parallel.replicate(start.state))
  drawn = feed.batches(start.step)
  first_batch = next(drawn)
  step = parallel.map_step(feed.step, num_shared=len(shared))
  parallel.compile_together(step, start.state, first_batch, *shared, meanwhile=start.meanwhile)
  last_step, asked_by = _guarded_fit(
    lambda state, batch: step(state, batch, *shared),
    itertools.chain([first_batch], drawn),
    start,
    options,
    [*_own_hooks(options, workdir, start), *more_hooks],
  )
  processes.run_on_primary('last checkpoint', lambda: _check_saved(start.checkpoints))
  if asked_by:
    raise Preempted(last_step, asked_by)
  return last_step


def check_batch_size(batch_size: int) -> None:
  """Raise a `UserError` unless a batch divides evenly over the devices."""
  devices = parallel.num_replicas()
  if batch_size % devices:
    raise UserError(
      f'train.batch_size (={batch_size}) must be divisible by the number of devices (={devices})'
    )


def _guarded_fit(step, drawn, start, options, hooks):
  """Run the loop and return the last step and the signal that ended it, or None."""
  checkpoints = start.checkpoints
  try:
    with PreemptionHandler() as handler:
      _, last_step = fit(
        start.state,
        step,
        drawn,
        first_step=start.step,
        last_step=options.steps,
        hooks=hooks,
        read_every_steps=options.log_every_steps,
        wait=parallel.must_wait_each_step(),
        stop=_deadline(options.time_limit_s),
        preempted=handler,
        transfer_guard='disallow',
      )
  except (NonFiniteLoss, OSError) as error:  # an OSError mostly means that the disk is full
    checkpoints.wait()
    step = checkpoints.latest_step()
    kept = 'has no checkpoint yet' if step is None else f'keeps the checkpoint of step {step}'
    raise UserError(f'training stopped: {error}; {checkpoints.folder} {kept}') from None
  finally:
    for hook in hooks:
      hook.close()
  return last_step, handler.given


def _own_hooks(options, workdir, start):
  """Return the hooks of every run; only the primary process has them."""
  if not processes.is_primary():
    return []
  every_steps = options.checkpoint_every_steps
  return [
    MetricsFile(workdir, first_step=start.step),
    Progress(first_step=start.step, last_step=options.steps, batch_size=options.batch_size),
    SaveCheckpoints(start.checkpoints, first_step=start.step, every_steps=every_steps),
  ]


def _hosts(input_pipeline):
  """Describe the processes of a pod; return '' if there is only one."""
  if processes.count() == 1:
    return ''
  words = {
    'device_cached': 'each holding all frames',
    'streaming': 'each reading its share of every batch',
  }
  return f' in {processes.count()} processes, {words[input_pipeline]}'


def _check_saved(checkpoints):
  if checkpoints.failure:
    raise UserError(
      f'{checkpoints.failure}; the newest whole checkpoint is that of step '
      f'{checkpoints.latest_step()}. Make room and run the same command again'
    )


def _deadline(time_limit_s):
  """Return a function that tells whether the time limit has passed."""
  if not time_limit_s:
    return lambda: False
  end = time.monotonic() + time_limit_s
  if processes.count() == 1:
    return lambda: time.monotonic() > end
  # By its own clock, each host would end the run at another step.
  return lambda: bool(processes.broadcast(np.asarray(time.monotonic() > end)))
