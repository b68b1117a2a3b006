"""Video files: containers, streams, rotation, bits, and files that end too early."""

import io
import os
import pathlib

import av
import numpy as np
import pytest
from av.stream import Disposition

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data import video
from a3dcae_jax.data.notes import collect_notes, note_lines
from a3dcae_jax.data.video_file import converted, read_video
from tests.data.dummy_sets import VIDEO_SIZE, damage, noise, write_video


def read(path):
  """Return the frames of a file and the notes on it."""
  with collect_notes() as notes:
    frames = np.stack(list(read_video(path)))
  return frames, note_lines(notes, path.parent)


def write_grey(path, frames, codec='ffv1', pix_fmt='gray', streams=1, **options):
  """Write frames without loss, the same ones in each stream."""
  with av.open(str(path), 'w', **options) as container:
    for _ in range(streams):
      stream = container.add_stream(codec, rate=25)
      stream.height, stream.width = frames.shape[1:3]
      stream.pix_fmt = pix_fmt
    for stream in container.streams.video:
      for frame in frames:
        picture = av.VideoFrame.from_ndarray(frame, format=pix_fmt)
        container.mux(stream.encode(picture))
      container.mux(stream.encode())
  return path


@pytest.mark.parametrize(
  'name', ['a.ts', 'a.flv', 'a.wmv', 'a.3gp', 'a.MOV', 'a.mkv', 'a.m2ts', 'a.mxf', 'a.mp4']
)
def test_whole_files_are_read_without_a_note(tmp_path, rng, name):
  codec = {'.flv': 'flv', '.wmv': 'wmv2', '.ts': 'mpeg2video', '.m2ts': 'mpeg2video'}
  path = tmp_path / name
  codec['.mxf'] = 'mpeg2video'
  frames = np.repeat(noise(rng, 2, VIDEO_SIZE), 10, axis=0)
  with av.open(str(path), 'w') as container:
    stream = container.add_stream(codec.get(path.suffix, 'mpeg4'), rate=25)
    stream.height, stream.width = VIDEO_SIZE
    stream.pix_fmt = 'yuv420p'
    for frame in frames:
      picture = av.VideoFrame.from_ndarray(frame, format='gray').reformat(format='yuv420p')
      container.mux(stream.encode(picture))
    container.mux(stream.encode())
  frames, notes = read(path)
  assert frames.shape == (20, *VIDEO_SIZE)
  assert not notes


def test_a_video_that_ends_before_its_header_says_is_noted(tmp_path, rng):
  path = write_grey(tmp_path / 'a.mkv', noise(rng, 50))
  damage(path, lambda content: content[: len(content) // 2])
  frames, (note,) = read(path)
  assert 20 < len(frames) < 26
  assert note.startswith('ends before its header says, so that frames may be missing: a.mkv (')
  assert 'of 2.00 s)' in note


def test_a_gap_in_the_middle_is_noted(tmp_path, rng):
  path = write_video(tmp_path / 'plain.mkv', rng, frames=5)
  gapped = tmp_path / 'a.mkv'
  with av.open(str(gapped), 'w') as container:
    stream = container.add_stream('ffv1', rate=25)
    stream.height, stream.width, stream.pix_fmt = 12, 18, 'gray'
    for index in [*range(10), *range(30, 40)]:
      frame = av.VideoFrame.from_ndarray(noise(rng, 1)[0], format='gray')
      frame.pts = index
      container.mux(stream.encode(frame))
    container.mux(stream.encode())
  frames, notes = read(gapped)
  assert len(frames) == 20
  assert notes == [
    'fewer frames than its time stamps leave room for, so that frames may be missing: '
    'a.mkv (20 of about 40)'
  ]
  assert not read(path)[1]


def display_matrix(path: pathlib.Path, numbers: list[int]) -> None:
  """Set the display matrix of the track of an .mp4: 16.16 fixed point, row by row."""
  content = path.read_bytes()
  place = content.index(b'tkhd') + 4 + 40
  matrix = np.asarray(numbers, '>i4') * np.asarray([65536, 65536, 1] * 2 + [65536, 65536, 2**30])
  path.write_bytes(content[:place] + matrix.astype('>i4').tobytes() + content[place + 36 :])


@pytest.mark.parametrize(
  'matrix, turned',
  [
    ([1, 0, 0, 0, 1, 0, 0, 0, 1], lambda frame: frame),
    ([0, 1, 0, -1, 0, 0, 0, 0, 1], lambda frame: np.rot90(frame, -1)),  # clockwise
    ([-1, 0, 0, 0, -1, 0, 0, 0, 1], lambda frame: np.rot90(frame, 2)),
    ([0, -1, 0, 1, 0, 0, 0, 0, 1], lambda frame: np.rot90(frame)),
    ([-1, 0, 0, 0, 1, 0, 0, 0, 1], lambda frame: frame[:, ::-1]),
    ([0, 1, 0, 1, 0, 0, 0, 0, 1], np.transpose),
  ],
)
def test_frames_are_turned_by_the_display_matrix(tmp_path, rng, matrix, turned):
  path = write_video(tmp_path / 'a.mp4', rng, frames=3)
  plain, _ = read(path)
  display_matrix(path, matrix)
  frames, _ = read(path)
  np.testing.assert_array_equal(frames, [turned(frame) for frame in plain])


def test_other_angles_are_said(tmp_path, rng):
  path = write_video(tmp_path / 'a.mp4', rng, frames=3)
  display_matrix(path, [1, 2, 0, -2, 1, 0, 0, 0, 1])
  frames, notes = read(path)
  assert frames[0].shape == VIDEO_SIZE[::-1]
  assert notes == ['turned by no multiple of 90 degrees, read as by the nearest one: a.mp4']


class Pipe(io.RawIOBase):
  """A file that cannot seek, which is what a pipe is to its writer."""

  def __init__(self):
    self.content = bytearray()

  def writable(self):
    return True

  def write(self, data):
    self.content += bytes(data)
    return len(data)


@pytest.mark.parametrize('size', [None, 0, 2**32 - 1])
def test_an_avi_written_to_a_pipe_has_no_size(tmp_path, rng, size):
  pipe = Pipe()
  path = tmp_path / 'a.avi'
  with av.open(pipe, 'w', format='avi') as container:
    stream = container.add_stream('ffv1', rate=25)
    stream.height, stream.width = VIDEO_SIZE
    stream.pix_fmt = 'gray'
    for frame in noise(rng, 20, VIDEO_SIZE):
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='gray')))
    container.mux(stream.encode())
  content = bytes(pipe.content)
  if size is not None:
    content = content[:4] + size.to_bytes(4, 'little') + content[8:]
  path.write_bytes(content)
  frames, notes = read(path)
  assert len(frames) == 20
  assert not notes


def test_of_several_streams_the_first_is_read_and_said(tmp_path, rng):
  frames = noise(rng, 4)
  path = write_grey(tmp_path / 'a.mkv', frames, streams=2)
  found, notes = read(path)
  np.testing.assert_array_equal(found, frames)
  assert notes == ['several video streams, of which the first is read: a.mkv (18x12, 18x12)']


def test_a_cover_is_no_video_stream(tmp_path, rng):
  path = tmp_path / 'a.mp4'
  write_video(tmp_path / 'plain.mp4', rng, frames=5)
  with av.open(str(tmp_path / 'plain.mp4')) as source, av.open(str(path), 'w') as container:
    cover = container.add_stream('mjpeg', rate=1)
    cover.height, cover.width, cover.pix_fmt = 64, 64, 'yuvj420p'
    cover.disposition = Disposition.attached_pic
    stream = container.add_stream_from_template(source.streams.video[0])
    picture = np.zeros((64, 64), np.uint8)
    frame = av.VideoFrame.from_ndarray(picture, format='gray').reformat(format='yuvj420p')
    container.mux([*cover.encode(frame), *cover.encode()])
    for packet in source.demux(video=0):
      if packet.dts is not None:
        packet.stream = stream
        container.mux(packet)
  frames, notes = read(path)
  assert frames.shape == (5, *VIDEO_SIZE)
  assert not notes


def test_videos_of_16_bits_are_scaled(tmp_path):
  frames = np.full((3, 12, 18), 200 * 257, np.uint16)
  found, _ = read(write_grey(tmp_path / 'a.mkv', frames, pix_fmt='gray16le'))
  assert abs(found.astype(int) - 200).max() <= 1


def test_too_large_frames_are_refused(tmp_path, rng, monkeypatch):
  path = write_video(tmp_path / 'a.mp4', rng)
  monkeypatch.setattr(video, '_MAX_PIXELS', 1000)
  with pytest.raises(UserError, match='a.mp4 has 48x32 pixels, more than the 1,000'):
    list(read_video(path))


def test_a_link_to_nothing_is_named(tmp_path):
  os.symlink(tmp_path / 'none.mp4', tmp_path / 'a.mp4')
  with pytest.raises(
    UserError, match='a.mp4 stops decoding at frame 0: No such file.*; take it out'
  ):
    list(read_video(tmp_path / 'a.mp4'))


def test_a_kept_scaler_converts_as_that_of_each_frame(rng):
  for shape in ((48, 64, 3), (30, 42, 3), (48, 64, 3)):
    pixels = rng.integers(0, 256, shape, np.uint8)
    frame = av.VideoFrame.from_ndarray(pixels, format='rgb24').reformat(format='yuv420p')
    for wanted in ({'format': 'gray'}, {'format': 'yuv420p', 'width': 32, 'height': 20}):
      expected = frame.reformat(**wanted).to_ndarray()
      np.testing.assert_array_equal(converted(frame, **wanted).to_ndarray(), expected)
