"""A trained auto-encoder put to work: errors and error maps of windows, in batches of one size, so with one compilation."""

import pathlib
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import tqdm

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.device_cache import fits_on_device, gather_clips
from a3dcae_jax.data.windows import clip_rows
from a3dcae_jax.evaluation.program import reconstruction, scoring_program, scoring_weights
from a3dcae_jax.models.inputs import clip_means, network_input
from a3dcae_jax.run.networks import frame_options, make_networks
from a3dcae_jax.run.train import restored_for_all
from a3dcae_jax.training import processes
from a3dcae_jax.training.checkpoints import Checkpoints


class Detector(NamedTuple):
  """What scores clips (uint8 [B, T, H, W]). Where there is a mean image for each scene, all that takes clips takes their scenes (int [B]) too.

  Attributes:
    program: `(weights, mean_image, clips) -> (errors [B, T], maps [B, T, H, W])`, see `scoring_program`; a bundle reads the clips alone.
    weights, mean_image: its first two arguments; mean_image [H, W], or [S, H, W] with one for each scene.
    reconstruct: (clips, scene=None) -> (clips, recon), both [B, T, H, W, 1] float32; None where the detector is a bundle.
    feature_maps: (clips, scene=None) -> dict of arrays; None likewise.
    step: of the checkpoint.
  """

  program: object
  weights: dict
  mean_image: object
  reconstruct: object
  feature_maps: object
  step: int

  def errors(self, clips, scene=None):
    """(errors [B, T], maps [B, T, H, W]) of clips."""
    return self.program(self.weights, _means(self.mean_image, scene), clips)

  def with_calibration(self, arrays):
    """This detector with further arrays for the program (name -> array), which find it as `weights['calibration/NAME']` and travel in a bundle."""
    return self._replace(
      weights=self.weights
      | {f'calibration/{name}': jnp.asarray(array) for name, array in arrays.items()}
    )


def load_detector(config, workdir, mean_image):
  """The newest checkpoint of a run; a `UserError` if there is none. mean_image: [H, W], or one a scene, [S, H, W]."""
  checkpoints = Checkpoints(
    pathlib.Path(workdir) / 'checkpoints', keep=config.train.keep_checkpoints
  )
  try:
    if processes.is_primary() and checkpoints.latest_step() is None:
      raise UserError(f'{workdir}/checkpoints: no checkpoint to evaluate; train first')
    state, step = restored_for_all(config, checkpoints)
  finally:
    checkpoints.close()
  weights, mean_image = scoring_weights(state), jnp.asarray(mean_image)
  generator, _ = make_networks(**config.model)

  @jax.jit
  def reconstruct(weights, clips, scene):
    real = network_input(clips, _means(mean_image, scene), **frame_options(config))
    return real, reconstruction(config, weights, real)

  @jax.jit
  def feature_maps(clips, scene=None):
    variables = {'params': state.generator, 'batch_stats': state.batch_stats}
    _, sown = generator.apply(
      variables,
      network_input(clips, _means(mean_image, scene), **frame_options(config)),
      train=False,
      mutable=['intermediates'],
    )
    return {name: value[0] for name, value in sown['intermediates'].items()}

  # Weights are arguments, not constants, as they are in a bundle: XLA folds constants by other roundings.
  return Detector(
    jax.jit(scoring_program(config)),
    weights,
    mean_image,
    lambda clips, scene=None: reconstruct(weights, clips, scene),
    feature_maps,
    step,
  )


def _means(mean_image, scene):
  """The mean image for clips of `scene` (int [B]); the only one where there are no scenes."""
  return mean_image if scene is None else clip_means(mean_image, scene)


def shared_window_errors(
  detector, frames, windows, *, scenes=None, on_maps=None, progress='', batch_size
):
  """`window_errors` of `windows`, shared out over the processes of a pod: each scores its own, reads their frames alone, and gets all errors.

  `on_maps` is called for this process's windows only. A process by itself scores them all.
  """
  first, options = windows.first, {'window': windows.keep.shape[1], 'batch_size': batch_size}
  if processes.count() == 1:
    return window_errors(
      detector,
      frames,
      first,
      stride=windows.stride,
      scenes=scenes,
      on_maps=on_maps,
      progress=progress,
      **options,
    )
  mine = processes.my_share(len(first))
  rows = windows.rows[mine]
  low, high = (rows.min(), rows.max() + 1) if len(rows) else (0, 0)
  moved = on_maps and (lambda start, maps: on_maps(start + mine.start, maps))
  errors = window_errors(
    detector,
    frames[low:high],
    first[mine] - low,
    stride=windows.stride[mine],
    scenes=None if scenes is None else scenes[mine],
    on_maps=moved,
    progress=progress if processes.is_primary() else '',
    **options,
  )
  return processes.gather_shares(np.asarray(errors, np.float32), len(first))


def window_errors(
  detector, frames, first, *, window, batch_size, stride=1, scenes=None, on_maps=None, progress=''
):
  """Errors [M, T] of the windows that start at frames `first`.

  Args:
    detector: `Detector`. frames: uint8 [N, H, W]; on the device as a whole where they fit. first: int [M]. window: T. stride: between
      a window's frames, a number or int [M].
    scenes: int [M], whose mean image each window takes; None where there is one for all.
    on_maps: called as on_maps(start, maps [b, T, H, W]) for windows start .. start + b, in order; None fetches no maps.
    progress: title of a progress bar, '' for none.
  """
  resident, stride = fits_on_device(frames.size), np.broadcast_to(stride, len(first))
  gather = jax.jit(lambda frames, first, stride: gather_clips(frames, first, stride, window=window))

  def errors_of(first, stride, scene, *resident_frames):
    clips = (
      gather(resident_frames[0], first, stride)
      if resident
      else frames[clip_rows(first, stride, window)]
    )
    errors, maps = detector.errors(clips, scene)
    return errors, (maps if on_maps else None)

  shared = [jax.device_put(np.asarray(frames))] if resident else []
  pending, done = [], []

  def finish(start, result):
    count = min(batch_size, len(first) - start)
    errors, maps = jax.device_get(result)
    done.append(errors[:count])
    if on_maps:
      on_maps(start, maps[:count])

  for start in tqdm.tqdm(
    range(0, len(first), batch_size),
    desc=progress,
    unit='batch',
    disable=not progress,
    dynamic_ncols=True,
  ):
    batch = [
      np.resize(column[start : start + batch_size], batch_size).astype(np.int32)
      for column in (first, stride)
    ]  # the last one repeats itself
    scene = None if scenes is None else np.resize(scenes[start : start + batch_size], batch_size)
    pending.append((start, errors_of(*batch, scene, *shared)))
    if len(pending) > 2:  # the device works on the next batches while this one is taken
      finish(*pending.pop(0))
  for item in pending:
    finish(*item)
  return np.concatenate(done) if done else np.zeros((0, window))
