"""A detector without weights: objects differ from the background.

A model has the background of every scene and the usual size of objects at every row of their lower
edge. A stream applies it to one video, frame by frame: it looks at no later frame.
"""

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Self

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.objects import background as backgrounds
from a3dcae_jax.objects import components
from a3dcae_jax.objects.background import Background, Noise

VERSION = 3  # boxes of another version are found anew
_SCENE_ARRAYS = ('image', 'noise_by_brightness', 'noise_by_pixel', 'usual')
_BACKGROUND_FRAMES = 120
_SIZE_FRAMES = 300
_MAD_OF_NORMAL = 0.6745
_FIRST_STEP = 40.0  # grey levels by which the background of an unknown scene follows at first


@dataclasses.dataclass(frozen=True)
class ForegroundParameters:
  """Parameters of the detector, the same for all data sets.

  Attributes:
    weak: differences above it, in deviations of the noise, may belong to an object.
    strong: an object has some differences above it.
    min_area: least number of pixels of a component.
    close_rows: gaps of up to twice as many rows are closed.
    close_columns: gaps of up to twice as many columns are closed.
    adapt: grey levels per frame by which the background follows a video where nothing is found.
    adapt_inside: the same, where an object is found.
    align_every: frames between two alignments of the background to the camera.
    unlike: share of the background's contrast that a video of its scene lacks at most.
  """

  weak: float = 3.5
  strong: float = 7.0
  min_area: int = 24
  close_rows: int = 3
  close_columns: int = 1
  adapt: float = 0.2
  adapt_inside: float = 0.02
  align_every: int = 200
  unlike: float = 0.9


class Scene(NamedTuple):
  """What is known of a scene.

  Attributes:
    image: float32 [H, W], its background, blurred.
    noise: see `background.fit_noise`.
    usual: float32 [G, 2], see `components.usual_sizes`.
  """

  image: np.ndarray
  noise: Noise
  usual: np.ndarray


@dataclasses.dataclass(frozen=True)
class ForegroundModel:
  """Backgrounds and usual sizes of the scenes of a data set.

  Attributes:
    scenes: by name.
    parameters: of the detector.
  """

  scenes: Mapping[str, Scene]
  parameters: ForegroundParameters = ForegroundParameters()

  @classmethod
  def fit(cls, split: Split, parameters: ForegroundParameters | None = None) -> Self:
    """Fit a model to training videos.

    Args:
      split: the training split; every scene has a background of its own.
      parameters: of the detector, by default those that fit all data sets.
    """
    parameters = parameters or ForegroundParameters()
    if not split.videos:
      raise UserError('the foreground needs training videos, and the frame cache has none')
    scenes = {}
    for name in sorted({video.scene for video in split.videos}):
      frames = np.concatenate(
        [video.first + np.arange(video.num_frames) for video in split.videos if video.scene == name]
      )
      chosen = np.asarray(split.frames[_evenly(frames, _BACKGROUND_FRAMES)])
      image = backgrounds.fit_image(chosen)
      noise = backgrounds.fit_noise(chosen, image)
      sampled = split.frames[_evenly(frames, _SIZE_FRAMES)]
      scenes[name] = Scene(image, noise, _usual_sizes(sampled, image, noise, parameters))
    return cls(scenes, parameters)

  @classmethod
  def from_arrays(cls, arrays: Mapping[str, np.ndarray], source: object = 'model') -> Self:
    """Return the model that `to_arrays` described.

    Args:
      arrays: what it returned.
      source: named in errors.

    Raises:
      UserError: if arrays are missing or of another version.
    """
    try:
      header = json.loads(str(arrays['header']))
      if header['version'] != VERSION:
        raise UserError(
          f'{source} has version {header["version"]!r}, this program reads {VERSION}; '
          'fit the foreground anew'
        )
      parameters = ForegroundParameters(**header['parameters'])
      scenes = {}
      for number, name in enumerate(header['scenes']):
        image, by_brightness, by_pixel, usual = (arrays[f'{key}_{number}'] for key in _SCENE_ARRAYS)
        scenes[name] = Scene(image, Noise(by_brightness, by_pixel), usual)
    except (KeyError, TypeError, ValueError) as error:
      raise UserError(f'{source} is not a model of the foreground: {error!r}') from None
    return cls(scenes, parameters)

  def to_arrays(self) -> dict[str, np.ndarray]:
    """Return the model as named arrays, for a file or a bundle."""
    header = {
      'version': VERSION,
      'parameters': dataclasses.asdict(self.parameters),
      'scenes': list(self.scenes),
    }
    arrays = {'header': np.asarray(json.dumps(header))}
    for number, scene in enumerate(self.scenes.values()):
      values = (scene.image, *scene.noise, scene.usual)
      for key, value in zip(_SCENE_ARRAYS, values, strict=True):
        arrays[f'{key}_{number}'] = value
    return arrays

  def stream(self, scene: str = '') -> 'ForegroundStream':
    """Return a detector for one video.

    Args:
      scene: of the video. If the video does not look like it, the most alike scene is taken, or the
        background is learned from the video alone.
    """
    return ForegroundStream(self, scene)

  def detect(self, frame: np.ndarray, scene: str = '') -> np.ndarray:
    """Return the boxes of a single frame; for videos, `stream` is faster and adapts.

    Args:
      frame: uint8 [H, W].
      scene: of the frame.

    Returns:
      float32 [M, 4], x1, y1, x2, y2 in pixels.
    """
    return self.stream(scene).detect(frame)


class ForegroundStream:
  """Finds what moves in one video, see `ForegroundModel.stream`."""

  def __init__(self, model: ForegroundModel, scene: str):
    self._model = model
    self._name = scene
    self._parameters = model.parameters
    self._scene: Scene | None = None
    self._is_own = False  # the background is learned from the video alone
    self._count = 0

  def detect(self, frame: np.ndarray) -> np.ndarray:
    """Return the boxes of the next frame.

    Args:
      frame: uint8 [H, W], of the size of the model's frames.

    Returns:
      float32 [M, 4], x1, y1, x2, y2 in pixels.
    """
    parameters = self._parameters
    blurred = backgrounds.blur(frame)
    if self._scene is None:
      self._begin(blurred)
    elif self._count % parameters.align_every == 0 and not self._is_own:
      self._background = _aligned(self._scene, blurred)
    self._count += 1
    values = backgrounds.difference(blurred - self._change, self._background)
    mask, strong = _masks(values, self._background, parameters)
    boxes = []
    for place, pixels in components.components(mask, strong, parameters.min_area):
      boxes += components.split_component(place, pixels, self._scene.usual)
    self._adapt(values, mask)
    return np.asarray(boxes, np.float32).reshape(-1, 4)

  def _begin(self, blurred: np.ndarray) -> None:
    """Choose the background by the first frame."""
    best = np.inf
    for name, scene in _named_first(self._model.scenes, self._name):
      if blurred.shape != scene.image.shape:
        raise UserError(
          f'the frame is {blurred.shape[1]}x{blurred.shape[0]}, the background of scene {name!r} '
          f'{scene.image.shape[1]}x{scene.image.shape[0]}: give frames of the same size'
        )
      background = _aligned(scene, blurred)
      unlike = backgrounds.unlike(blurred, background.image)
      if unlike < best:
        best, self._scene, self._background = unlike, scene, background
      if name == self._name and unlike <= self._parameters.unlike:
        break
    self._is_own = best > self._parameters.unlike
    if self._is_own:
      noise = self._scene.noise._replace(by_pixel=np.zeros_like(blurred))
      self._background = backgrounds.make_background(blurred, noise)
    self._change = np.zeros_like(blurred)

  def _adapt(self, values: np.ndarray, mask: np.ndarray) -> None:
    """Let the background follow the video, slower where an object is."""
    parameters = self._parameters
    least = _FIRST_STEP / self._count if self._is_own else 0.0
    inside = np.float32(max(parameters.adapt_inside, least))
    step = np.where(mask, inside, np.float32(max(parameters.adapt, least)))
    self._change += np.clip(values, -step, step)


def _named_first(scenes: Mapping[str, Scene], name: str) -> Iterator[tuple[str, Scene]]:
  yield from sorted(scenes.items(), key=lambda item: item[0] != name)


def _aligned(scene: Scene, blurred: np.ndarray) -> Background:
  movement = backgrounds.align(scene.image, blurred)
  return backgrounds.make_background(scene.image, scene.noise, movement)


def _masks(
  values: np.ndarray, background: Background, parameters: ForegroundParameters
) -> tuple[np.ndarray, np.ndarray]:
  """Return where objects may be and where they must be, both bool [H, W].

  Where the whole frame differs more than its noise, as after a change of light, thresholds grow.
  """
  relative = np.abs(values) / background.noise
  relative /= max(1.0, backgrounds.spread(relative) / _MAD_OF_NORMAL)
  weak = relative > parameters.weak
  mask = components.close_gaps(weak, parameters.close_rows, parameters.close_columns)
  return mask, relative > parameters.strong


def _usual_sizes(
  frames: np.ndarray, image: np.ndarray, noise: Noise, parameters: ForegroundParameters
) -> np.ndarray:
  background = backgrounds.make_background(image, noise)
  boxes = []
  areas = []
  for frame in frames:
    values = backgrounds.difference(backgrounds.blur(frame), background)
    masks = _masks(values, background, parameters)
    for (rows, columns), pixels in components.components(*masks, parameters.min_area):
      boxes.append((columns.start, rows.start, columns.stop, rows.stop))
      areas.append(pixels.sum())
  sizes = np.asarray(boxes, int).reshape(-1, 4)
  return components.usual_sizes(sizes, np.asarray(areas, int), image.shape[0])


def _evenly(frames: np.ndarray, count: int) -> np.ndarray:
  """Return up to so many of the frames, evenly spaced."""
  return frames[np.unique(np.linspace(0, len(frames) - 1, min(count, len(frames))).astype(int))]
