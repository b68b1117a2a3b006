"""Training clips, test windows, batches, and the two input pipelines."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.batches import clip_batch
from a3dcae_jax.data.clip_reader import ClipReader
from a3dcae_jax.data.device_cache import fits_on_device, gather_clips
from a3dcae_jax.data.frame_cache import CachedVideo
from a3dcae_jax.data.windows import ClipTable, clip_rows, test_windows, training_clips, window_at


def make_videos(*lengths):
  videos = []
  first = 0
  for index, length in enumerate(lengths):
    videos.append(CachedVideo(str(index), first, length, ''))
    first += length
  return videos


def clips_of(table):
  """Return (first, stride) of each clip, with strides to two digits."""
  strides = np.round(table.stride.astype(float), 2).tolist()
  return list(zip(table.first.tolist(), strides, strict=True))


def test_training_clips_by_hand():
  table = training_clips(make_videos(6, 5), window=3, strides=(1, 2))
  assert clips_of(table) == [(0, 1), (2, 1), (0, 2), (6, 1), (8, 1), (6, 2)]


def test_strides_below_one_repeat_frames():
  rows = clip_rows([7, 0, 5], [1 / 3, 0.5, 0], 7)
  expected = [[7, 7, 7, 8, 8, 8, 9], [0, 0, 1, 1, 2, 2, 3], [5] * 7]
  np.testing.assert_array_equal(rows, expected)
  long = clip_rows([0], [np.float32(1 / 3)], 301)
  np.testing.assert_array_equal(long[0], np.arange(301) // 3)


def test_slow_clips_end_inside_their_video():
  """The end of a video does not stop a clip of one still frame."""
  table = training_clips(make_videos(5), window=4, strides=(0, 1 / 3, 0.5, 1))
  still = [(0, 0), (2, 0), (4, 0)]
  slow = [(0, 0.33), (2, 0.33), (0, 0.5), (2, 0.5)]
  assert clips_of(table) == [*still, *slow, (0, 1)]


def test_negative_strides_are_refused():
  with pytest.raises(UserError, match='clips.strides'):
    training_clips(make_videos(30), window=4, strides=(1, -1))


def test_a_set_without_training_clips_is_refused():
  with pytest.raises(UserError, match='longest training video has 5 frames, a clip of 16'):
    training_clips(make_videos(5, 3), window=16)
  with pytest.raises(UserError, match='no training clip'):
    training_clips([], window=16)


def test_test_windows_by_hand():
  windows = test_windows(make_videos(4, 7), window=4)
  np.testing.assert_array_equal(windows.first, [0, 4, 7])
  np.testing.assert_array_equal(windows.keep, [[1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]])
  overlapping = test_windows(make_videos(7), window=4, step=2)
  np.testing.assert_array_equal(overlapping.first, [0, 2, 3])
  assert overlapping.keep.all()


def test_strided_windows_by_hand():
  # The frames are those of two videos, 0 2 4 6 8 and 1 3 5 7.
  windows = test_windows(make_videos(9), window=3, stride=2)
  np.testing.assert_array_equal(windows.rows, [[0, 2, 4], [1, 3, 5], [3, 5, 7], [4, 6, 8]])
  np.testing.assert_array_equal(windows.keep, [[1, 1, 1], [1, 1, 1], [0, 0, 1], [0, 1, 1]])
  overlapping = test_windows(make_videos(9), window=3, stride=2, step=1)
  np.testing.assert_array_equal(overlapping.first, [0, 1, 2, 3, 4])


def test_a_short_video_takes_the_stride_that_fits():
  videos = make_videos(5, 9)
  windows = test_windows(videos, window=3, stride=2)
  np.testing.assert_array_equal(windows.rows[:2], [[0, 1, 2], [2, 3, 4]])
  np.testing.assert_array_equal(windows.stride, [1, 1, 2, 2, 2, 2])
  rows, position = window_at(videos[0], 4, window=3, stride=2)
  assert rows.tolist() == [2, 3, 4]
  assert position == 2


def test_too_short_videos_and_bad_steps_are_named():
  with pytest.raises(UserError, match=r'eval.stride \(=0\)'):
    test_windows(make_videos(5), window=3, stride=0)
  with pytest.raises(UserError, match=r'clips.window=4.* scored: 1 \(3\);'):
    test_windows(make_videos(4, 3), window=4)
  with pytest.raises(UserError, match=r'eval.window_step \(=5\)'):
    test_windows(make_videos(9), window=4, step=5)


@given(st.lists(st.integers(4, 40), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 5))
def test_every_frame_is_kept_exactly_once(lengths, window, stride):
  videos = make_videos(*lengths)
  windows = test_windows(videos, window=window, stride=stride)
  assert sorted(windows.rows[windows.keep]) == list(range(sum(lengths)))
  for video in videos:
    for frame in (0, video.num_frames // 2, video.num_frames - 1):
      rows, position = window_at(video, frame, window=window, stride=stride)
      assert rows[position] == video.first + frame
      assert rows.tolist() in windows.rows.tolist()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 5))
def test_training_clips_stay_inside_their_video(lengths, window):
  try:
    table = training_clips(make_videos(*lengths), window=window)
  except UserError:
    return
  video_of_frame = np.repeat(np.arange(len(lengths)), lengths)
  last = table.first + ((window - 1) * table.stride).astype(int)
  np.testing.assert_array_equal(video_of_frame[table.first], video_of_frame[last])


@pytest.fixture
def table():
  strides = [0, 0.5, 1 / 3, 1, 2, 3, 1, 0.75, 2, 1]
  return ClipTable(np.arange(10, dtype=np.int64) * 3, np.asarray(strides, np.float32))


def test_an_epoch_has_every_clip_once(table):
  batches = [clip_batch(table, batch_size=4, seed=0, step=step) for step in range(5)]
  drawn = np.concatenate([first for first, _ in batches])  # two epochs of 10 clips
  assert sorted(drawn[:10]) == table.first.tolist()
  assert sorted(drawn[10:]) == table.first.tolist()
  assert drawn[:10].tolist() != drawn[10:].tolist()


def test_batch_k_depends_only_on_seed_and_k(table):
  expected = [clip_batch(table, batch_size=4, seed=1, step=step) for step in range(6)]
  for step in (5, 0, 3):
    batch = clip_batch(table, batch_size=4, seed=1, step=step)
    np.testing.assert_array_equal(batch, expected[step])
  other = clip_batch(table, batch_size=4, seed=2, step=0)
  assert not np.array_equal(other, expected[0])


def test_gathered_clips_by_hand():
  frames = jnp.arange(8, dtype=jnp.uint8).reshape(8, 1, 1)
  clips = gather_clips(frames, jnp.asarray([0, 3]), jnp.asarray([1, 2]), window=3)
  np.testing.assert_array_equal(clips.reshape(2, 3), [[0, 1, 2], [3, 5, 7]])


def test_only_small_sets_of_frames_fit_on_the_device():
  assert fits_on_device(1000)
  assert not fits_on_device(10**15)


@pytest.mark.parametrize('kind', ['array', 'file', 'part of a file'])
def test_clips_are_read_from_arrays_and_files(tmp_path, table, rng, kind):
  frames = rng.integers(0, 256, (40, 4, 6), dtype=np.uint8)
  skipped = 3 if kind == 'part of a file' else 0
  np.save(tmp_path / 'frames.npy', np.concatenate([frames[:skipped], frames]))
  source = frames
  if kind != 'array':
    source = np.load(tmp_path / 'frames.npy', mmap_mode='r')[skipped:]
  clips = ClipReader(source, window=3)(table.first, table.stride)
  rows = table.first[:, None] + (table.stride[:, None] * np.arange(3)).astype(int)
  np.testing.assert_array_equal(clips, frames[rows])
  assert clips.ctypes.data % 64 == 0
  np.testing.assert_array_equal(ClipReader(source, window=1).span(5, 9), frames[5:9])


def test_a_truncated_file_is_an_error(tmp_path, table):
  path = tmp_path / 'frames.npy'
  np.save(path, np.zeros((40, 4, 6), np.uint8))
  reader = ClipReader(np.load(path, mmap_mode='r'), window=3)
  with open(path, 'r+b') as file:
    file.truncate(400)
  with pytest.raises(OSError, match='ended while frame'):
    reader(table.first, table.stride)


@pytest.mark.slow
@pytest.mark.parametrize('first_step', [0, 3])
def test_streamed_and_gathered_clips_are_equal_to_the_bit(table, rng, first_step):
  from a3dcae_jax.data.pipeline import prefetch_to_device, stream_batches

  frames = rng.integers(0, 256, (40, 4, 6), dtype=np.uint8)
  on_device = []

  def put(clips):
    on_device.append(clips)
    return clips

  batches = stream_batches(frames, table, batch_size=4, window=3, seed=7, first_step=first_step)
  streamed = itertools.islice(prefetch_to_device(batches, put), 4)
  for step, clips in enumerate(streamed, start=first_step):
    batch = clip_batch(table, batch_size=4, seed=7, step=step)
    first, stride = map(jnp.asarray, batch)
    gathered = gather_clips(jnp.asarray(frames), first, stride, window=3)
    np.testing.assert_array_equal(clips, gathered)
  assert len(on_device) >= 5  # ahead of the consumer
