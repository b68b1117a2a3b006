"""Train the networks of a run: make the parts of the loop and run it."""

import itertools
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.device_cache import fits_on_device, gather_clips
from a3dcae_jax.data.frame_cache import CachedVideo, Split, videos_of
from a3dcae_jax.data.windows import ClipTable, training_clips
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.program import input_function
from a3dcae_jax.models.dtypes import gradient_dtype
from a3dcae_jax.models.inputs import clip_means
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.training import parallel, processes
from a3dcae_jax.training.checkpoints import Checkpoints, restored_for_all
from a3dcae_jax.training.hooks import Hook, MetricsFile, Progress, SaveCheckpoints
from a3dcae_jax.training.loop import NonFiniteLoss, fit
from a3dcae_jax.training.preemption import Preempted, PreemptionHandler
from a3dcae_jax.training.state import TrainState, init_state, make_optimizer
from a3dcae_jax.training.step import make_train_step


class TrainingData(NamedTuple):
  """The training videos of a run with their input statistics.

  Attributes:
    split: the training split.
    inputs: mean images and perspective.
    ids: int32 [V], mean image id of each training video.
  """

  split: Split
  inputs: InputStatistics
  ids: np.ndarray


class _Start(NamedTuple):
  """The state from which training starts or resumes.

  Attributes:
    checkpoints: checkpoints of the run.
    state: state after `step` updates.
    step: number of updates that are done.
  """

  checkpoints: Checkpoints
  state: TrainState
  step: int


def train(
  settings: fields.Config,
  workdir: pathlib.Path,
  data: TrainingData,
  *,
  hooks: Sequence[Hook] = (),
) -> int:
  """Train to `train.steps`, from the newest whole checkpoint if there is one.

  In a pod every process calls this; only the primary process touches `workdir`.

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
    return _run(settings, workdir, data, _Start(checkpoints, state, first_step), hooks)
  except jax.errors.JaxRuntimeError as error:
    if 'RESOURCE_EXHAUSTED' not in str(error):
      raise
    raise UserError(
      f'out of memory: lower train.batch_size (={settings.train.batch_size}), or set model.remat '
      'to blocks, which takes less memory and more time'
    ) from None
  finally:
    checkpoints.close()


def fresh_state(settings: fields.Config) -> TrainState:
  """Return the state before the first update."""
  generator, discriminator = make_networks(settings.model)
  optimizer = make_optimizer(settings.optimizer, settings.train.steps)
  shape = (settings.clips.window, settings.data.height, settings.data.width)
  return init_state(generator, discriminator, optimizer, clip_shape=shape, seed=settings.seed)


def make_step(
  settings: fields.Config,
  row_scale: tuple[float, float],
  input_pipeline: str,
  axis_name: str | None = parallel.AXIS,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Return the update of one replica.

  Args:
    settings: settings of the run.
    row_scale: reference speed of the top and the bottom row.
    input_pipeline: 'streaming' or 'device_cached'.
    axis_name: name of the axis over the replicas.

  Returns:
    For 'streaming', a function (state, batch, mean images) -> (state, metrics), where a batch is
    (clips, ids). For 'device_cached' it takes the frames on the device as a fourth argument, and a
    batch is (first, stride, ids).
  """
  generator, discriminator = make_networks(settings.model, axis_name=axis_name)
  step = make_train_step(
    generator,
    discriminator,
    make_optimizer(settings.optimizer, settings.train.steps),
    settings.loss,
    seed=settings.seed,
    prepare=input_function(settings.input, row_scale),
    axis_name=axis_name,
    gradient_dtype=gradient_dtype(settings.model.dtype),
  )
  window = settings.clips.window

  def streaming_step(state, batch, mean_images):
    clips, ids = batch
    return step(state, clips, clip_means(mean_images, ids))

  def device_cached_step(state, batch, mean_images, frames):
    first, stride, ids = batch
    clips = gather_clips(frames, first, stride, window=window)
    return step(state, clips, clip_means(mean_images, ids))

  return device_cached_step if input_pipeline == 'device_cached' else streaming_step


def choose_input_pipeline(name: str, frames: np.ndarray) -> str:
  """Return the input pipeline; for 'auto', 'device_cached' if the frames fit."""
  if name != 'auto':
    return name
  return 'device_cached' if fits_on_device(frames.size) else 'streaming'


def trained_on(videos: Sequence[CachedVideo], holdout: int) -> Sequence[CachedVideo]:
  """Return the training videos without the last `holdout`, which only calibrate.

  Raises:
    UserError: if no video would be left.
  """
  if holdout and holdout >= len(videos):
    raise UserError(
      f'train.holdout_videos (={holdout}) must leave some of the {len(videos)} training videos'
    )
  return videos[: len(videos) - holdout]


def batches(
  settings: fields.Config,
  data: TrainingData,
  input_pipeline: str,
  table: ClipTable,
  first_step: int,
) -> Iterator[Any]:
  """Yield batches on the devices without end, the first for update `first_step + 1`.

  A batch holds the rows of this process; `make_step` describes its parts.
  """
  size = settings.train.batch_size
  rows = parallel.my_rows(size)

  def indices():
    for step in itertools.count(first_step):
      first, stride = clip_batch(table, batch_size=size, seed=settings.seed, step=step)
      ids = data.ids[videos_of(data.split, first[rows])]
      yield first[rows], stride[rows], ids

  if input_pipeline == 'device_cached':
    return (parallel.shard(batch) for batch in indices())
  # TensorFlow is imported only here, since a device-cached run does not need it.
  from a3dcae_jax.data.pipeline import prefetch_to_device, stream_batches

  clips = stream_batches(
    data.split.frames,
    table,
    batch_size=size,
    window=settings.clips.window,
    seed=settings.seed,
    first_step=first_step,
    rows=rows,
  )
  pairs = ((batch, ids) for batch, (_, _, ids) in zip(clips, indices(), strict=False))
  return prefetch_to_device(pairs, parallel.shard)


def _run(settings, workdir, data, start, more_hooks):
  """Make the parts of the loop, run it, and check that the last state is saved."""
  options = settings.train
  devices = parallel.num_replicas()
  check_batch_size(options.batch_size)
  frames = data.split.frames
  input_pipeline = processes.run_on_primary(
    'input pipeline', lambda: choose_input_pipeline(options.input_pipeline, frames)
  )
  videos = trained_on(data.split.videos, options.holdout_videos)
  table = training_clips(videos, window=settings.clips.window, strides=settings.clips.strides)
  processes.log_once(
    f'{len(table.first)} training clips, {input_pipeline}; '
    f'{devices} x {jax.local_devices()[0].device_kind}{_hosts(input_pipeline)}; compiling ...'
  )
  shared = [parallel.replicate(data.inputs.input_means)]
  if input_pipeline == 'device_cached':
    shared.append(parallel.replicate(np.asarray(frames)))
  start = start._replace(state=parallel.replicate(start.state))
  drawn = batches(settings, data, input_pipeline, table, start.step)
  first_batch = next(drawn)
  step = parallel.map_step(
    make_step(settings, data.inputs.row_scale, input_pipeline), num_shared=len(shared)
  )
  parallel.compile_together(step, start.state, first_batch, *shared)
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
    raise UserError(
      f'training stopped: {error}; the last good checkpoint in {checkpoints.folder} is that of '
      f'step {checkpoints.latest_step()}'
    ) from None
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
