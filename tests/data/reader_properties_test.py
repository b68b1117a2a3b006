"""Readers of names and bytes that anyone could have made: they read, or raise a UserError."""

import functools
import io
import pathlib
import tempfile

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import file_key
from a3dcae_jax.data.layouts.frame_names import in_order
from a3dcae_jax.data.video import read_grey, read_mask
from a3dcae_jax.data.video_file import read_video
from tests.properties import hundred

# Names as file systems hold them: no slash, no zero, and surrogates where bytes are not UTF-8.
file_names = st.text(
  st.one_of(st.sampled_from('0123456789._-:T abé'), st.characters(exclude_characters='/\0')),
  min_size=1,
  max_size=30,
)
numbers = st.integers(0, 10**20)
patterned = st.builds(
  lambda pattern, rows: [pattern.format(*row) for row in rows],
  st.sampled_from(['{}.png', 'a{}_b{}.png', '{}.{}.png', '2024{}_{}.jpg', '{}-{}-{} {}.{}.bmp']),
  st.lists(st.tuples(*[st.one_of(st.integers(0, 12), numbers)] * 5), min_size=1, max_size=20),
)


@hundred
@given(st.one_of(st.lists(file_names, min_size=1, max_size=20), patterned))
def test_any_names_of_frames_are_ordered_or_refused(names):
  names = list(dict.fromkeys(names))
  try:
    order = in_order(names)
  except UserError:
    return
  assert sorted(order.names) == sorted(names)


@hundred
@given(
  first=numbers,
  step=st.integers(1, 10**6),
  count=st.integers(1, 30),
  digits=st.integers(0, 8),
  around=st.tuples(*[st.sampled_from(['', 'a', 'cam2_', '_x264', ' (3) '])] * 2),
  rng=st.randoms(use_true_random=False),
)
def test_evenly_numbered_frames_are_in_the_order_of_their_numbers(
  first, step, count, digits, around, rng
):
  before, after = around
  if before[-1:].isdigit() or after[:1].isdigit():
    return
  names = []
  for index in range(count):
    names.append(f'{before}{first + step * index:0{digits}d}{after}.png')
  shuffled = list(names)
  rng.shuffle(shuffled)
  assert in_order(shuffled).names == names


@hundred
@given(st.lists(file_names, min_size=2, max_size=2, unique=True))
def test_keys_of_names_differ_in_any_letter_case(names):
  one, other = (file_key(name).lower() for name in names)
  assert one != other


@functools.cache
def image_bytes(kind: str) -> bytes:
  """Return a small image of a kind, such as 'TIFF I;16'."""
  name, _, mode = kind.partition(' ')
  pixels = np.arange(20 * 24).reshape(20, 24)
  if mode == 'I;16':
    image = Image.fromarray((100 * pixels).astype(np.uint16))
  elif mode == 'F':
    image = Image.fromarray((pixels / 480).astype(np.float32))
  else:
    image = Image.fromarray((pixels % 256).astype(np.uint8)).convert(mode or 'L')
  file = io.BytesIO()
  image.save(file, name)
  return file.getvalue()


@functools.cache
def video_bytes(suffix: str) -> bytes:
  """Return a short video in a container, such as '.mp4'."""
  codecs = {'.ts': 'mpeg2video', '.mpg': 'mpeg1video', '.flv': 'flv', '.wmv': 'wmv2'}
  file = io.BytesIO()
  formats = {'.mkv': 'matroska', '.ts': 'mpegts', '.wmv': 'asf', '.mpg': 'mpeg'}
  with av.open(file, 'w', format=formats.get(suffix, suffix[1:])) as container:
    stream = container.add_stream(codecs.get(suffix, 'mpeg4'), rate=25)
    stream.height, stream.width, stream.pix_fmt = 32, 48, 'yuv420p'
    for index in range(4):
      picture = np.full((32, 48), 60 * index, np.uint8)
      frame = av.VideoFrame.from_ndarray(picture, format='gray').reformat(format='yuv420p')
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  return file.getvalue()


@st.composite
def damaged(draw, make, kinds) -> tuple[str, bytes]:
  """Draw a kind of file and its bytes: some overwritten, inserted, removed, or the end cut off."""
  kind = draw(st.sampled_from(kinds))
  content = make(kind)
  # Headers are at the beginning, so half of the damage is there.
  place = st.one_of(st.integers(0, min(200, len(content))), st.integers(0, len(content)))
  for _ in range(draw(st.integers(0, 6))):
    start = draw(place)
    new = draw(st.binary(max_size=8))
    removed = draw(st.sampled_from([len(new), 0, 8]))
    content = content[:start] + new + content[start + removed :]
  if draw(st.booleans()):
    content = content[: draw(place)]
  return kind, content


def read_bytes(read, content: bytes, suffix: str):
  """Read a file of these bytes; None if that raises a UserError of one line."""
  with tempfile.TemporaryDirectory() as folder:
    path = pathlib.Path(folder) / f'a{suffix}'
    path.write_bytes(content)
    try:
      return read(path)
    except UserError as error:
      assert str(path) in str(error)
      return None


KINDS = ['PNG', 'PNG I;16', 'PNG P', 'PNG RGBA', 'JPEG', 'JPEG CMYK', 'TIFF', 'TIFF I;16', 'TIFF F']
KINDS += ['BMP', 'GIF', 'WEBP', 'PPM', 'TGA', 'JPEG2000', 'SGI', 'PCX RGB']


@hundred
@given(st.one_of(damaged(image_bytes, KINDS), st.tuples(st.just('raw'), st.binary(max_size=99))))
@pytest.mark.filterwarnings('ignore::UserWarning')  # of Pillow, on damaged data
def test_any_bytes_of_an_image_are_read_or_refused(case):
  for read in (read_grey, read_mask):
    pixels = read_bytes(read, case[1], '.png')
    assert pixels is None or (pixels.dtype == np.uint8 and pixels.ndim == 2)


SUFFIXES = ['.avi', '.mp4', '.mkv', '.mov', '.ts', '.mpg', '.flv', '.wmv']


@hundred
@given(damaged(video_bytes, SUFFIXES))
def test_any_bytes_of_a_video_are_read_or_refused(case):
  frames = read_bytes(lambda path: list(read_video(path)), case[1], case[0])
  assert frames is None or all(frame.dtype == np.uint8 and frame.ndim == 2 for frame in frames)
