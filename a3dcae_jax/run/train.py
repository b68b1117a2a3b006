"""Trains one config: makers fed by its subtrees, joined by the loop."""

import itertools
import pathlib
import time

import jax
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.device_cache import fits_on_device, gather_clips
from a3dcae_jax.data.windows import training_clips
from a3dcae_jax.evaluation.mean_images import network_mean
from a3dcae_jax.models.inputs import clip_means
from a3dcae_jax.run.networks import frame_options, make_networks, reduce_dtype
from a3dcae_jax.training import parallel, processes
from a3dcae_jax.training.checkpoints import Checkpoints
from a3dcae_jax.training.hooks import MetricsFile, Progress, SaveCheckpoints
from a3dcae_jax.training.loop import NonFiniteLoss, fit
from a3dcae_jax.training.preemption import Preempted, PreemptionHandler
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import Objective, make_train_step

INPUT_PIPELINES = ('auto', 'device_cached', 'streaming')


def train(config, workdir, cache, *, hooks=()):
  """Trains to `config.train.steps`, or goes on from the newest whole checkpoint of `workdir` to there; returns the last step.

  In a pod every process calls this; the first one alone touches `workdir`.

  Raises: UserError when a loss stops being finite: the step is named, the last good checkpoint stays; and when the last checkpoint could not be
    written. Preempted after SIGTERM, once the state is saved.
  """
  checkpoints = Checkpoints(
    pathlib.Path(workdir) / 'checkpoints', keep=config.train.keep_checkpoints
  )
  try:
    start = time.monotonic()
    state, first_step = restored_for_all(config, checkpoints)
    if first_step >= config.train.steps:
      processes.log_once(f'{workdir}: already trained, checkpoint at step {first_step}')
      return first_step
    if first_step:
      processes.log_once(
        f'{workdir}: going on from the checkpoint of step {first_step}, read in {time.monotonic() - start:.2f} s'
      )
    return _run(config, workdir, cache, checkpoints, state, first_step, hooks)
  finally:
    checkpoints.close()


def restore_or_init(config, checkpoints):
  """(state, step): the newest checkpoint's, or a fresh one's at step 0."""
  shapes = jax.eval_shape(lambda: fresh_state(config))
  step = checkpoints.latest_step()
  if step is None:
    return fresh_state(config), 0
  try:
    return checkpoints.restore(step, shapes), step
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(
      f'the checkpoint of step {step} does not fit this config: {str(error).splitlines()[0]}'
    ) from None


def restored_for_all(config, checkpoints):
  """`restore_or_init` of process 0, given to every process: the others need not see the checkpoints."""
  if processes.count() == 1:
    return restore_or_init(config, checkpoints)
  found = []

  def restore():
    found[:] = restore_or_init(config, checkpoints)
    return found[1]

  step = processes.run_on_primary('checkpoint', restore)
  return processes.broadcast(found[0] if found else fresh_state(config)), step


def make_step(config, input_pipeline, axis_name=parallel.AXIS):
  """The per-replica update of this config: `(state, batch, mean_image[, frames])`, `batch` clips or, resident, their indices.

  Where there are several mean images (data.mean_image) the batch is (clips, which) or (first, stride, which), and they are [S, H, W].
  """
  networks = make_networks(**config.model, axis_name=axis_name)
  step = make_train_step(
    *networks,
    optimizer_of(config),
    Objective(**config.objective),
    seed=config.seed,
    axis_name=axis_name,
    reduce_dtype=reduce_dtype(config.train.reduce_dtype, config.model.dtype),
    **frame_options(config),
  )
  resident, several = (
    input_pipeline == 'device_cached',
    config.data.get('mean_image', 'set') != 'set',
  )

  def fed_step(state, batch, mean_image, *frames):
    if several:
      *batch, which = batch
      mean_image, batch = clip_means(mean_image, which), batch if resident else batch[0]
    return step(
      state,
      gather_clips(*frames, *batch, window=config.clips.window) if resident else batch,
      mean_image,
    )

  return fed_step if resident or several else step


def optimizer_of(config):
  """The optimizer of a config, its schedule as long as the training."""
  return make_optimizer(**config.optimizer, steps=config.train.steps)


def choose_input_pipeline(input_pipeline, frames):
  """'device_cached' or 'streaming': 'auto' is resident where the frames fit on the device."""
  if input_pipeline not in INPUT_PIPELINES:
    raise UserError(
      f'train.input_pipeline {input_pipeline!r}: known are {", ".join(INPUT_PIPELINES)}'
    )
  return (
    input_pipeline
    if input_pipeline != 'auto'
    else 'device_cached'
    if fits_on_device(frames.size)
    else 'streaming'
  )


def fresh_state(config):
  """A `TrainState` of this config before its first update."""
  networks = make_networks(**config.model)
  shape = (config.clips.window, config.data.height, config.data.width)
  return init_state(*networks, optimizer_of(config), clip_shape=shape, seed=config.seed)


def _run(config, workdir, cache, checkpoints, state, first_step, more_hooks):
  devices, first = parallel.num_replicas(), processes.is_primary()
  if config.train.batch_size % devices:
    raise UserError(
      f'train.batch_size (={config.train.batch_size}) must be divisible by the number of devices (={devices})'
    )
  frames = cache.train.frames
  input_pipeline = processes.run_on_primary(
    'input_pipeline', lambda: choose_input_pipeline(config.train.input_pipeline, frames)
  )
  table = training_clips(
    trained_on(cache.train.videos, config.train.holdout_videos), **config.clips
  )
  hosts = (
    ''
    if processes.count() == 1
    else f' in {processes.count()} processes, '
    + {
      'device_cached': 'each holding all frames',
      'streaming': 'each reading its share of every batch',
    }[input_pipeline]
  )
  processes.log_once(
    f'training clips {len(table.first)}, {input_pipeline}; {devices} x {jax.local_devices()[0].device_kind}{hosts}; compiling ...'
  )
  shared = [network_mean(config, cache)] + (
    [np.asarray(frames)] if input_pipeline == 'device_cached' else []
  )
  shared = [parallel.replicate(array) for array in shared]
  state, drawn = (
    parallel.replicate(state),
    batches(config, input_pipeline, cache, table, first_step),
  )
  batch = next(drawn)
  step = parallel.map_step(make_step(config, input_pipeline), num_shared=len(shared))
  parallel.compile_together(step, state, batch, *shared)
  hooks = (
    [
      MetricsFile(workdir, first_step=first_step),
      Progress(
        first_step=first_step, last_step=config.train.steps, batch_size=config.train.batch_size
      ),
      SaveCheckpoints(
        checkpoints, first_step=first_step, every_steps=config.train.checkpoint_every_steps
      ),
    ]
    if first
    else []
  )
  hooks = [*hooks, *more_hooks]
  try:
    with PreemptionHandler() as notice:
      _, last_step = fit(
        state,
        lambda state, batch: step(state, batch, *shared),
        itertools.chain([batch], drawn),
        first_step=first_step,
        last_step=config.train.steps,
        hooks=hooks,
        read_every_steps=config.train.log_every_steps,
        wait=parallel.must_wait_each_step(),
        stop=_deadline(config.train.time_limit_s),
        preempted=notice,
        transfer_guard='disallow' if config.train.transfer_guard else 'allow',
      )
  except NonFiniteLoss as error:
    checkpoints.wait()
    raise UserError(
      f'training stopped: {error}; the last good checkpoint is that of step {checkpoints.latest_step()} in {workdir}'
    ) from None
  except OSError as error:  # a full disk, before anything else
    checkpoints.wait()
    raise UserError(
      f'training stopped: {error}; the newest whole checkpoint is that of step {checkpoints.latest_step()} in {workdir}'
    ) from None
  finally:
    for hook in hooks:
      hook.close()
  processes.run_on_primary('last checkpoint', lambda: _check_saved(checkpoints, last_step))
  if notice.given:
    raise Preempted(last_step)
  return last_step


def _check_saved(checkpoints, step):
  if checkpoints.failure:
    raise UserError(
      f'{checkpoints.failure}; the newest whole one is that of step {checkpoints.latest_step()}. Make room and run the same command'
    )


def trained_on(videos, holdout):
  """The training videos but for the last `holdout`, which calibrate thresholds."""
  if not 0 <= holdout < len(videos):
    raise UserError(
      f'train.holdout_videos (={holdout}) must leave some of the {len(videos)} training videos'
    )
  return videos[: len(videos) - holdout]


def batches(config, input_pipeline, cache, table, first_step):
  """Endless batches on the devices, from that of update `first_step + 1` on: of each, this process's rows."""
  arguments, rows = (
    {'batch_size': config.train.batch_size, 'seed': config.seed},
    parallel.my_rows(config.train.batch_size),
  )
  drawn = (clip_batch(table, step=step, **arguments) for step in itertools.count(first_step))
  indices = ((first[rows], stride[rows]) for first, stride in drawn)
  if input_pipeline == 'device_cached':
    return (
      parallel.shard(
        (*batch, cache.scene_of(cache.train, batch[0])) if cache.means != 'set' else batch
      )
      for batch in indices
    )
  from a3dcae_jax.data.pipeline import (
    prefetch_to_device,
    stream_batches,
  )  # TensorFlow, which a resident run does not need

  clips = stream_batches(
    cache.train.frames,
    table,
    window=config.clips.window,
    first_step=first_step,
    rows=rows,
    **arguments,
  )
  if cache.means != 'set':
    clips = (
      (batch, cache.scene_of(cache.train, first))
      for batch, (first, _) in zip(clips, indices, strict=True)
    )
  return prefetch_to_device(clips, parallel.shard)


def _deadline(time_limit_s):
  end = time.monotonic() + time_limit_s if time_limit_s else float('inf')
  if not time_limit_s or processes.count() == 1:
    return lambda: time.monotonic() > end
  return lambda: bool(
    processes.broadcast(np.asarray(time.monotonic() > end))
  )  # the clocks of several hosts would end at several steps
