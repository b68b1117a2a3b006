"""Draw the pictures of the documentation from a run of the synthetic set.

  python -m tools.make_pictures --workdir=runs/synthetic --out=docs/images

Writes OUT/synthetic.png, one frame, and OUT/synthetic.webp, an animation of the same video: input,
reconstruction and error map, above the score of the video. True events are shaded, true regions
outlined. The score comes from `scores.csv` of the run.
"""

import argparse
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

from a3dcae_jax.common.errors import UserError

WIDTH, HEIGHT = 760, 430  # size of the picture in points
MARGIN = 24
PANEL = 220  # side of a panel in points
PANEL_TOP = 40
CURVE_TOP, CURVE_BOTTOM = 302, 384
STILL_SCALE = 2.0  # pixels per point
ANIMATION_SCALE = 1.25
SUPERSAMPLING = 2  # Pillow draws lines without antialiasing: draw large, then reduce
FRAME_STEP = 3  # frames of the video per picture of the animation
FRAME_MS = 120
MAX_BYTES = 1_000_000

# A dark card with rounded corners is legible on light and on dark pages.
BACKGROUND = (22, 27, 34)
TEXT = (201, 209, 217)
FAINT = (72, 80, 90)
CURVE = (88, 166, 255)
EVENT = (110, 56, 60)
REGION = (255, 123, 114)
CURSOR = (255, 255, 255)
# Black, purple, orange, pale yellow: brightness rises throughout.
HEAT = np.asarray(
  [[0, 0, 4], [87, 16, 110], [188, 55, 84], [249, 142, 9], [252, 255, 164]], np.float64
)


class VideoPictures(NamedTuple):
  """One test video as the network sees it.

  Attributes:
    name: name of the video.
    frames: input, float [N, H, W] in [0, 1].
    reconstructions: float [N, H, W] in [0, 1].
    errors: squared differences, float [N, H, W].
    scores: float [N].
    labels: 0/1 [N].
    masks: true abnormal regions, 0/1 [N, H, W].
  """

  name: str
  frames: np.ndarray
  reconstructions: np.ndarray
  errors: np.ndarray
  scores: np.ndarray
  labels: np.ndarray
  masks: np.ndarray


class Canvas:
  """A picture that is drawn in points and holds `scale` pixels per point.

  Attributes:
    image: the picture so far, `SUPERSAMPLING` times as large.
  """

  def __init__(self, scale: float) -> None:
    self.scale = scale
    self._factor = scale * SUPERSAMPLING
    self.image = Image.new('RGB', self._size(self._factor), BACKGROUND)
    self._draw = ImageDraw.Draw(self.image)

  def copy(self) -> 'Canvas':
    """Return a separate canvas with the same content."""
    other = Canvas(self.scale)
    other.image.paste(self.image)
    return other

  def text(self, x: float, y: float, words: str, anchor: str = 'ls', size: float = 13) -> None:
    """Write words; `anchor` as in Pillow."""
    font = ImageFont.load_default(size * self._factor)
    self._draw.text(self._points([(x, y)])[0], words, fill=TEXT, font=font, anchor=anchor)

  def line(self, points: Sequence, colour: tuple, width: float) -> None:
    """Draw a line through points (x, y)."""
    pixels = max(round(width * self._factor), 1)
    self._draw.line(self._points(points), fill=colour, width=pixels, joint='curve')

  def box(self, left: float, top: float, right: float, bottom: float, colour: tuple) -> None:
    """Fill a rectangle."""
    self._draw.rectangle(self._points([(left, top), (right, bottom)]), fill=colour)

  def outline(self, left: float, top: float, right: float, bottom: float, colour: tuple) -> None:
    """Draw the edge of a rectangle."""
    corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
    self.line(corners, colour, 1.5)

  def dot(self, x: float, y: float, radius: float, colour: tuple) -> None:
    """Fill a disc."""
    corners = [(x - radius, y - radius), (x + radius, y + radius)]
    self._draw.ellipse(self._points(corners), fill=colour)

  def panel(self, pixels: np.ndarray, left: float, top: float) -> None:
    """Paste an image, uint8 [H, W] or [H, W, 3], as a square of `PANEL` points."""
    side = round(PANEL * self._factor)
    enlarged = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
    corner = self._points([(left, top)])[0]
    self.image.paste(enlarged.convert('RGB'), (round(corner[0]), round(corner[1])))

  def finished(self) -> Image.Image:
    """Return the picture at its size, with rounded transparent corners."""
    size = self._size(self.scale)
    card = self.image.resize(size, Image.Resampling.LANCZOS).convert('RGBA')
    corners = Image.new('L', self.image.size, 0)
    whole = (0, 0, self.image.width - 1, self.image.height - 1)
    ImageDraw.Draw(corners).rounded_rectangle(whole, radius=12 * self._factor, fill=255)
    card.putalpha(corners.resize(size, Image.Resampling.LANCZOS))
    return card

  def _size(self, factor: float) -> tuple[int, int]:
    return round(WIDTH * factor), round(HEIGHT * factor)

  def _points(self, points: Sequence) -> list[tuple[float, float]]:
    return [(x * self._factor, y * self._factor) for x, y in points]


def load_video(workdir: pathlib.Path, name: str) -> VideoPictures:
  """Reconstruct a test video of a run.

  Raises:
    UserError: if the run has no test video of this name, or no labels.
  """
  # Imported here, because drawing does not need it.
  from a3dcae_jax.data.windows import test_windows
  from a3dcae_jax.evaluation.calibration import InputStatistics
  from a3dcae_jax.evaluation.mean_images import mean_image_ids
  from a3dcae_jax.run.datasets import open_cache
  from a3dcae_jax.run.evaluate import load_scorer
  from a3dcae_jax.run.workdir import read_config
  from a3dcae_jax.scoring.tables import read_scores

  settings = read_config(workdir)
  cache = open_cache(settings.data, ('test',))
  names, _, scores, labels = read_scores(workdir / 'scores.csv')
  if name not in names or labels is None:
    raise UserError(f'--video={name}: {workdir} has the labelled test videos {", ".join(names)}')
  index = names.index(name)
  video = cache.test.videos[index]
  inputs = InputStatistics.load(workdir, settings.data)
  scorer = load_scorer(settings, workdir, inputs)
  ids = mean_image_ids(settings.data.mean_image, inputs.names, 'test', cache.test.videos)
  windows = test_windows([video], window=scorer.window)
  clips = np.asarray(cache.test.frames[windows.rows])
  explained = scorer.explain(clips, np.repeat(ids[index], len(clips)))
  frames, reconstructions = (_frames_of(array, windows, video) for array in explained)
  mean_image = inputs.input_means[ids[index]]
  return VideoPictures(
    name=name,
    frames=frames + mean_image,
    reconstructions=reconstructions + mean_image,
    errors=np.square(frames - reconstructions),
    scores=scores[index],
    labels=labels[index],
    masks=np.asarray(cache.test.masks[video.first : video.first + video.num_frames]),
  )


def _frames_of(clips, windows, video):
  """Assemble windows [M, T, H, W] into the frames of their video, [N, H, W]."""
  clips = np.asarray(clips, np.float32)
  clips = clips.reshape(clips.shape[:4])
  frames = np.zeros((video.num_frames, *clips.shape[2:]), np.float32)
  frames[windows.rows - video.first] = clips
  return frames


def draw_background(video: VideoPictures, scale: float) -> Canvas:
  """Draw the constant part: titles and the curve with its true events."""
  canvas = Canvas(scale)
  for title, left in zip(('input', 'reconstruction', 'squared error'), _panel_lefts(), strict=True):
    canvas.text(left, PANEL_TOP - 10, title)
  for start, end in _intervals(video.labels):
    canvas.box(_x(video, start), CURVE_TOP, _x(video, end), CURVE_BOTTOM, EVENT)
  canvas.line([(MARGIN, CURVE_BOTTOM), (WIDTH - MARGIN, CURVE_BOTTOM)], FAINT, 1)
  canvas.text(MARGIN, CURVE_TOP - 12, 'anomaly score of the video')
  canvas.box(WIDTH - MARGIN - 136, CURVE_TOP - 23, WIDTH - MARGIN - 124, CURVE_TOP - 11, EVENT)
  canvas.text(WIDTH - MARGIN, CURVE_TOP - 12, 'true abnormal event', anchor='rs')
  for frame in range(0, len(video.scores), 25):
    x = _x(video, frame + 0.5)
    canvas.line([(x, CURVE_BOTTOM), (x, CURVE_BOTTOM + 4)], FAINT, 1)
    canvas.text(x, CURVE_BOTTOM + 18, str(frame), anchor='ms', size=11)
  canvas.text(WIDTH - MARGIN, CURVE_BOTTOM + 18, 'frame', anchor='rs', size=11)
  canvas.line(_curve(video), CURVE, 1.8)
  return canvas


def draw_frame(background: Canvas, video: VideoPictures, frame: int) -> Image.Image:
  """Draw one frame of a video over the background."""
  canvas = background.copy()
  limit = np.quantile(video.errors, 0.9995)
  panels = (
    _grey(video.frames[frame]),
    _grey(video.reconstructions[frame]),
    _heat(video.errors[frame] / limit),
  )
  for pixels, left in zip(panels, _panel_lefts(), strict=True):
    canvas.panel(pixels, left, PANEL_TOP)
  for box in _regions(video.masks[frame]):
    canvas.outline(*box, REGION)
  x, y = _curve(video)[frame]
  canvas.line([(x, CURVE_TOP - 4), (x, CURVE_BOTTOM)], CURSOR, 1)
  canvas.dot(x, y, 3.5, CURSOR)
  return canvas.finished()


def write_still(video: VideoPictures, path: pathlib.Path) -> None:
  """Write a PNG of the frame with the highest score among the abnormal ones."""
  frame = int(np.argmax(np.where(video.labels == 1, video.scores, -np.inf)))
  picture = draw_frame(draw_background(video, STILL_SCALE), video, frame)
  picture.save(path, optimize=True)


def write_animation(video: VideoPictures, path: pathlib.Path) -> None:
  """Write the video as an animated WebP.

  Raises:
    UserError: if the file has more than `MAX_BYTES`.
  """
  background = draw_background(video, ANIMATION_SCALE)
  frames = range(0, len(video.scores), FRAME_STEP)
  pictures = [draw_frame(background, video, frame) for frame in frames]
  pictures[0].save(
    path,
    save_all=True,
    append_images=pictures[1:],
    duration=FRAME_MS,
    loop=0,
    quality=60,
    method=4,
  )
  size = path.stat().st_size
  if size > MAX_BYTES:
    raise UserError(f'{path} has {size:,} bytes, more than {MAX_BYTES:,}: raise FRAME_STEP')


def _panel_lefts() -> list[float]:
  gap = (WIDTH - 2 * MARGIN - 3 * PANEL) / 2
  return [MARGIN + index * (PANEL + gap) for index in range(3)]


def _x(video: VideoPictures, frame: float) -> float:
  """Return the x position at which a frame begins on the curve, in points."""
  return MARGIN + (WIDTH - 2 * MARGIN) * frame / len(video.scores)


def _curve(video: VideoPictures) -> list[tuple[float, float]]:
  """Return the score of each frame as a point, its lowest at the bottom."""
  low = video.scores.min()
  height = (video.scores - low) / (video.scores.max() - low)
  ys = CURVE_BOTTOM - 3 - (CURVE_BOTTOM - CURVE_TOP - 6) * height
  return [(_x(video, frame + 0.5), float(y)) for frame, y in enumerate(ys)]


def _intervals(labels: np.ndarray) -> list[tuple[int, int]]:
  """Return runs of ones as (start, end), end exclusive."""
  edges = np.diff(np.r_[0, labels, 0].astype(int))
  starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
  return list(zip(starts.tolist(), ends.tolist(), strict=True))


def _regions(mask: np.ndarray) -> list[tuple[float, float, float, float]]:
  """Return the boxes of the true regions of a frame, in points of the first panel."""
  point = PANEL / len(mask)
  components, _ = ndimage.label(mask)
  boxes = []
  for rows, columns in ndimage.find_objects(components):
    left, right = columns.start - 1, columns.stop + 1
    top, bottom = rows.start - 1, rows.stop + 1
    limits = np.clip([left, top, right, bottom], 0, len(mask)) * point
    boxes.append(tuple(limits + [MARGIN, PANEL_TOP, MARGIN, PANEL_TOP]))
  return boxes


def _grey(image: np.ndarray) -> np.ndarray:
  return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


def _heat(level: np.ndarray) -> np.ndarray:
  """Return colours, uint8 [H, W, 3], of an image in [0, 1]."""
  position = np.clip(level, 0, 1) * (len(HEAT) - 1)
  low = np.minimum(position.astype(int), len(HEAT) - 2)
  share = (position - low)[..., None]
  return np.rint(HEAT[low] * (1 - share) + HEAT[low + 1] * share).astype(np.uint8)


def main() -> None:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--workdir', required=True, type=pathlib.Path, help='folder of the run')
  parser.add_argument('--out', required=True, type=pathlib.Path, help='folder of the pictures')
  parser.add_argument('--video', default='04', help='name of the test video')
  arguments = parser.parse_args()
  arguments.out.mkdir(parents=True, exist_ok=True)
  video = load_video(arguments.workdir, arguments.video)
  for name, write in (('synthetic.png', write_still), ('synthetic.webp', write_animation)):
    path = arguments.out / name
    write(video, path)
    print(f'{path}: {path.stat().st_size / 1000:,.0f} kB')


if __name__ == '__main__':
  main()
