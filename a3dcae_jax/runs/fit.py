"""Trains one config: makers fed by its subtrees, joined by the loop."""

import itertools
import pathlib
import time

import jax
import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.resident import fits_on_device, gather_clips
from a3dcae_jax.data.windows import training_clips
from a3dcae_jax.runs.networks import make_networks
from a3dcae_jax.training import parallel
from a3dcae_jax.training.checkpoints import Checkpoints
from a3dcae_jax.training.hooks import MetricsFile, Progress, SaveCheckpoints
from a3dcae_jax.training.loop import NonFiniteLoss, fit
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import Objective, clip_means, make_train_step

FEEDINGS = ('auto', 'resident', 'streamed')


def train(config, workdir, store, *, hooks=()):
  """Trains to `config.train.steps`, or goes on from the newest checkpoint of `workdir` to there; returns the last step.

  Raises: UserError when a loss stops being finite: the step is named, the last good checkpoint stays.
  """
  checkpoints = Checkpoints(pathlib.Path(workdir) / 'checkpoints', keep=config.train.keep_checkpoints)
  try:
    state, first_step = restore_or_init(config, checkpoints)
    if first_step >= config.train.steps:
      print(f'{workdir}: already trained, checkpoint at step {first_step}')
      return first_step
    if first_step:
      print(f'{workdir}: going on from the checkpoint of step {first_step}')
    return _run(config, workdir, store, checkpoints, state, first_step, hooks)
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
    raise UserError(f'the checkpoint of step {step} does not fit this config: {str(error).splitlines()[0]}') from None


def make_step(config, feeding, axis_name=parallel.AXIS):
  """The per-replica update of this config: `(state, batch, mean_image[, frames])`, `batch` clips or, resident, their indices.

  With data.mean_image 'scene' the batch is (clips, scene) or (first, stride, scene) and the mean image [S, H, W].
  """
  networks = make_networks(**config.model, axis_name=axis_name)
  step = make_train_step(*networks, make_optimizer(**config.optimizer), Objective(**config.objective), seed=config.seed, axis_name=axis_name,
                         reduce_dtype=reduce_dtype(config.train.reduce_dtype))
  resident, per_scene = feeding == 'resident', config.data.get('mean_image', 'set') == 'scene'

  def fed_step(state, batch, mean_image, *frames):
    if per_scene:
      *batch, scene = batch
      mean_image, batch = clip_means(mean_image, scene), batch if resident else batch[0]
    return step(state, gather_clips(*frames, *batch, window=config.clips.window) if resident else batch, mean_image)

  return fed_step if resident or per_scene else step


def reduce_dtype(name):
  """`name`, if it is a dtype that `train.reduce_dtype` may name."""
  if name not in ('float32', 'bfloat16'):
    raise UserError(f'train.reduce_dtype {name!r}: known are float32, bfloat16')
  return name


def choose_feeding(feeding, frames):
  """'resident' or 'streamed': 'auto' is resident where the frames fit on the device."""
  if feeding not in FEEDINGS:
    raise UserError(f'train.feeding {feeding!r}: known are {", ".join(FEEDINGS)}')
  return feeding if feeding != 'auto' else 'resident' if fits_on_device(frames.size) else 'streamed'


def fresh_state(config):
  """A `TrainState` of this config before its first update."""
  networks = make_networks(**config.model)
  shape = (config.clips.window, config.data.height, config.data.width)
  return init_state(*networks, make_optimizer(**config.optimizer), clip_shape=shape, seed=config.seed)


def _run(config, workdir, store, checkpoints, state, first_step, hooks):
  devices = jax.local_devices()
  if config.train.batch_size % len(devices):
    raise UserError(f'train.batch_size (={config.train.batch_size}) must be divisible by the number of devices (={len(devices)})')
  frames = store.train.frames
  feeding = choose_feeding(config.train.feeding, frames)
  table = training_clips(trained_on(store.train.videos, config.train.holdout_videos), **config.clips)
  print(f'training clips {len(table.first)}, {feeding}; {len(devices)} x {devices[0].device_kind}; compiling ...', flush=True)
  shared = [store.mean_image()] + ([np.asarray(frames)] if feeding == 'resident' else [])
  shared = [parallel.replicate(array) for array in shared]
  mapped = parallel.map_step(make_step(config, feeding), num_shared=len(shared))
  hooks = [MetricsFile(workdir, first_step=first_step),
           Progress(first_step=first_step, last_step=config.train.steps, batch_size=config.train.batch_size),
           SaveCheckpoints(checkpoints, first_step=first_step, every_steps=config.train.checkpoint_every_steps), *hooks]
  try:
    _, last_step = fit(
        parallel.replicate(state), lambda state, batch: mapped(state, batch, *shared), batches(config, feeding, store, table, first_step),
        first_step=first_step, last_step=config.train.steps, hooks=hooks, read_every_steps=config.train.log_every_steps,
        wait=parallel.must_wait_each_step(), stop=_deadline(config.train.time_limit_s),
        transfer_guard='disallow' if config.train.transfer_guard else 'allow')
  except NonFiniteLoss as error:
    checkpoints.wait()
    raise UserError(f'training stopped: {error}; the last good checkpoint is that of step {checkpoints.latest_step()} in {workdir}') from None
  finally:
    for hook in hooks:
      hook.close()
  return last_step


def trained_on(videos, holdout):
  """The training videos but for the last `holdout`, which calibrate thresholds."""
  if not 0 <= holdout < len(videos):
    raise UserError(f'train.holdout_videos (={holdout}) must leave some of the {len(videos)} training videos')
  return videos[:len(videos) - holdout]


def batches(config, feeding, store, table, first_step):
  """Endless batches on the devices, from that of update `first_step + 1` on."""
  arguments = {'batch_size': config.train.batch_size, 'seed': config.seed}
  indices = (clip_batch(table, step=step, **arguments) for step in itertools.count(first_step))
  if feeding == 'resident':
    return (parallel.shard((*batch, store.scene_of(store.train, batch[0])) if store.means == 'scene' else batch) for batch in indices)
  from a3dcae_jax.data.pipeline import prefetch_to_device, stream_batches  # TensorFlow, which a resident run does not need
  clips = stream_batches(store.train.frames, table, window=config.clips.window, first_step=first_step, **arguments)
  if store.means == 'scene':
    clips = ((batch, store.scene_of(store.train, first)) for batch, (first, _) in zip(clips, indices, strict=True))
  return prefetch_to_device(clips, parallel.shard)


def _deadline(time_limit_s):
  end = time.monotonic() + time_limit_s if time_limit_s else float('inf')
  return lambda: time.monotonic() > end
