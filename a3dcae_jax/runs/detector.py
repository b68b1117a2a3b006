"""A trained auto-encoder put to work: errors and error maps of windows, in batches of one size, so with one compilation."""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.resident import fits_on_device, gather_clips
from a3dcae_jax.ops.hiding import predict_hidden
from a3dcae_jax.runs.fit import restored_for_all
from a3dcae_jax.runs.networks import make_networks
from a3dcae_jax.scoring.errors import block_errors, error_maps, frame_errors, motion_maps, smoothed_errors
from a3dcae_jax.training import processes
from a3dcae_jax.training.checkpoints import Checkpoints
from a3dcae_jax.training.step import zero_mean

ERRORS = ('eq13', 'block', 'smoothed', 'motion')


class Detector(NamedTuple):
  """`reconstruct(uint8 [B, T, H, W])` -> (clips, recon), both [B, T, H, W, 1] float32; `feature_maps` likewise -> dict of arrays."""
  reconstruct: object
  feature_maps: object
  step: int


def load_detector(config, workdir, mean_image):
  """The newest checkpoint of a run; a `UserError` if there is none."""
  checkpoints = Checkpoints(pathlib.Path(workdir) / 'checkpoints', keep=config.train.keep_checkpoints)
  try:
    if processes.is_first() and checkpoints.latest_step() is None:
      raise UserError(f'{workdir}/checkpoints: no checkpoint to evaluate; train first')
    state, step = restored_for_all(config, checkpoints)
  finally:
    checkpoints.close()
  generator, _ = make_networks(**config.model)
  variables = {'params': state.generator, 'batch_stats': state.batch_stats}
  mean_image = jnp.asarray(mean_image)

  @jax.jit
  def reconstruct(clips):
    clips = zero_mean(clips, mean_image)
    if config.objective.hide_every:
      every, run = config.objective.hide_every, config.objective.hide_frames
      return clips, predict_hidden(lambda seen: generator.apply(variables, seen, train=False), clips, every=every, run=run)
    return clips, generator.apply(variables, clips, train=False)

  def feature_maps(clips):
    _, sown = generator.apply(variables, zero_mean(clips, mean_image), train=False, mutable=['intermediates'])
    return {name: value[0] for name, value in sown['intermediates'].items()}

  return Detector(reconstruct, jax.jit(feature_maps), step)


def shared_window_errors(detector, frames, first, *, on_maps=None, **options):
  """`window_errors` with the windows shared out over the processes of a pod: each scores its own, reads their frames alone, and gets all errors.

  `on_maps` is called for this process's windows only. A process by itself scores them all.
  """
  if processes.count() == 1:
    return window_errors(detector, frames, first, on_maps=on_maps, **options)
  mine = processes.my_share(len(first))
  own = first[mine]
  low, high = (own.min(), own.max() + options['window']) if len(own) else (0, 0)
  moved = on_maps and (lambda start, maps: on_maps(start + mine.start, maps))
  errors = window_errors(detector, frames[low:high], own - low, on_maps=moved, **options)
  return processes.gather_shares(np.asarray(errors, np.float32), len(first))


def window_errors(detector, frames, first, *, window, batch_size, error='eq13', block_px=16, sigma_px=4.0, on_maps=None, progress=''):
  """Errors [M, T] of the windows that start at frames `first`.

  Args:
    detector: `Detector`. frames: uint8 [N, H, W]; on the device as a whole where they fit. first: int [M]. window: T.
    error: 'eq13' (mean over pixels), 'block' (largest mean of a `block_px` block), 'smoothed' (largest value after smoothing by `sigma_px`),
      'motion' (root of the mean of `motion_maps`, which are then the maps).
    on_maps: called as on_maps(start, maps [b, T, H, W]) for windows start .. start + b, in order; None fetches no maps.
    progress: title of a progress bar, '' for none.
  """
  if error not in ERRORS:
    raise UserError(f'eval.error {error!r}: known are {", ".join(ERRORS)}')
  kinds = {'eq13': frame_errors, 'block': lambda maps: block_errors(maps, block_px), 'smoothed': lambda maps: smoothed_errors(maps, sigma_px),
           'motion': lambda maps: jnp.sqrt(frame_errors(maps))}
  resident, offsets = fits_on_device(frames.size), np.arange(window)

  @jax.jit
  def errors_of(clips_or_rows, *resident_frames):
    clips = gather_clips(resident_frames[0], clips_or_rows, jnp.ones_like(clips_or_rows), window=window) if resident else clips_or_rows
    clips, recon = detector.reconstruct(clips)
    maps = error_maps(clips, recon)
    maps = motion_maps(maps, clips) if error == 'motion' else maps
    return kinds[error](maps), (maps if on_maps else None)

  shared = [jax.device_put(np.asarray(frames))] if resident else []
  pending, done = [], []

  def finish(start, result):
    count = min(batch_size, len(first) - start)
    errors, maps = jax.device_get(result)
    done.append(errors[:count])
    if on_maps:
      on_maps(start, maps[:count])

  for start in tqdm.tqdm(range(0, len(first), batch_size), desc=progress, unit='batch', disable=not progress, dynamic_ncols=True):
    rows = np.resize(first[start:start + batch_size], batch_size).astype(np.int32)  # the last batch repeats itself
    pending.append((start, errors_of(rows if resident else frames[rows[:, None] + offsets], *shared)))
    if len(pending) > 2:  # the device works on the next batches while this one is taken
      finish(*pending.pop(0))
  for item in pending:
    finish(*item)
  return np.concatenate(done) if done else np.zeros((0, window))
