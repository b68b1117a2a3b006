"""Windows, batches, and the two ways of input_pipeline: by hand first, then by property."""

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


def videos_of(*lengths):
  firsts = np.r_[0, np.cumsum(lengths)][:-1]
  return [
    CachedVideo(str(i), int(first), length, '')
    for i, (first, length) in enumerate(zip(firsts, lengths, strict=True))
  ]


def test_training_clips_by_hand():
  table = training_clips(videos_of(6, 5), window=3, strides=(1, 2))
  assert list(zip(table.first.tolist(), table.stride.tolist(), strict=True)) == [
    (0, 1),
    (2, 1),
    (0, 2),
    (6, 1),
    (8, 1),
    (6, 2),
  ]


def test_slow_clips_by_hand():
  """A third of the speed, also where thirds are rounded; half of it; a still frame, which the end of its video does not stop."""
  np.testing.assert_array_equal(
    clip_rows([7, 0, 5], [1 / 3, 0.5, 0], 7),
    [[7, 7, 7, 8, 8, 8, 9], [0, 0, 1, 1, 2, 2, 3], [5] * 7],
  )
  np.testing.assert_array_equal(clip_rows([0], [np.float32(1 / 3)], 301)[0], np.arange(301) // 3)
  table = training_clips(videos_of(3), window=4, strides=(0, 1 / 3, 0.5, 1))
  assert list(zip(table.first.tolist(), np.round(table.stride, 2).tolist(), strict=True)) == [
    (0, 0),
    (2, 0),
    (0, np.float32(0.33)),
    (0, 0.5),
  ]
  with pytest.raises(
    UserError, match=r'clips.strides \(=\(1, -1\)\) must name temporal strides of 0 and more'
  ):
    training_clips(videos_of(30), window=4, strides=(1, -1))


def test_no_training_clip_is_an_error():
  with pytest.raises(UserError, match='the longest training video has 5 frames, a clip of 16'):
    training_clips(videos_of(5, 3), window=16)
  with pytest.raises(UserError, match='no training clip'):
    training_clips([], window=16)


def test_test_windows_by_hand():
  windows = test_windows(videos_of(4, 7), window=4)
  np.testing.assert_array_equal(windows.first, [0, 4, 7])
  np.testing.assert_array_equal(windows.keep, [[1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 1]])
  overlapping = test_windows(videos_of(7), window=4, step=2)
  np.testing.assert_array_equal(overlapping.first, [0, 2, 3])
  assert overlapping.keep.all()


def test_strided_windows_by_hand():
  windows = test_windows(videos_of(9), window=3, stride=2)  # frames 0 2 4 6 8 and 1 3 5 7
  np.testing.assert_array_equal(windows.rows, [[0, 2, 4], [1, 3, 5], [3, 5, 7], [4, 6, 8]])
  np.testing.assert_array_equal(windows.keep, [[1, 1, 1], [1, 1, 1], [0, 0, 1], [0, 1, 1]])
  overlapping = test_windows(videos_of(9), window=3, stride=2, step=1)
  np.testing.assert_array_equal(overlapping.first, [0, 1, 2, 3, 4])


def test_a_short_video_takes_the_stride_that_fits():
  windows = test_windows(videos_of(5, 9), window=3, stride=2)
  np.testing.assert_array_equal(windows.rows[:2], [[0, 1, 2], [2, 3, 4]])
  np.testing.assert_array_equal(windows.stride, [1, 1, 2, 2, 2, 2])
  rows, place = window_at(videos_of(5, 9)[0], 4, window=3, stride=2)
  assert rows.tolist() == [2, 3, 4] and place == 2


def test_short_video_and_gaps_are_named():
  with pytest.raises(UserError, match=r'eval.stride \(=0\)'):
    test_windows(videos_of(5), window=3, stride=0)
  with pytest.raises(UserError, match=r'test video 1 has 3 frames, fewer than the window \(=4\)'):
    test_windows(videos_of(4, 3), window=4)
  with pytest.raises(UserError, match=r'eval.window_step \(=5\)'):
    test_windows(videos_of(9), window=4, step=5)


@given(st.lists(st.integers(4, 40), min_size=1, max_size=5), st.integers(1, 4), st.integers(1, 5))
def test_every_frame_is_kept_exactly_once(lengths, window, stride):
  videos = videos_of(*lengths)
  windows = test_windows(videos, window=window, stride=stride)
  assert sorted(windows.rows[windows.keep]) == list(range(sum(lengths)))
  for video in videos:
    for frame in (0, video.num_frames // 2, video.num_frames - 1):
      rows, place = window_at(video, frame, window=window, stride=stride)
      assert rows[place] == video.first + frame and rows.tolist() in windows.rows.tolist()


@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(1, 5))
def test_training_clips_stay_inside_their_video(lengths, window):
  videos = videos_of(*lengths)
  try:
    table = training_clips(videos, window=window)
  except UserError:
    return
  of_frame = np.repeat(np.arange(len(lengths)), lengths)
  np.testing.assert_array_equal(
    of_frame[table.first], of_frame[table.first + ((window - 1) * table.stride).astype(int)]
  )


@pytest.fixture
def table():
  return ClipTable(
    np.arange(10, dtype=np.int64) * 3,
    np.asarray([0, 0.5, 1 / 3, 1, 2, 3, 1, 0.75, 2, 1], np.float32),
  )


def test_an_epoch_has_every_clip_once(table):
  drawn = np.concatenate(
    [clip_batch(table, batch_size=4, seed=0, step=step)[0] for step in range(5)]
  )  # two epochs of 10
  assert sorted(drawn[:10]) == sorted(drawn[10:]) == table.first.tolist()
  assert drawn[:10].tolist() != drawn[10:].tolist()


def test_batch_k_depends_on_seed_and_k_alone(table):
  expected = [clip_batch(table, batch_size=4, seed=1, step=step) for step in range(6)]
  for step in (5, 0, 3):
    np.testing.assert_array_equal(
      clip_batch(table, batch_size=4, seed=1, step=step), expected[step]
    )
  assert not np.array_equal(clip_batch(table, batch_size=4, seed=2, step=0), expected[0])


def test_gather_by_hand():
  frames = jnp.arange(8, dtype=jnp.uint8).reshape(8, 1, 1)
  clips = gather_clips(frames, jnp.asarray([0, 3]), jnp.asarray([1, 2]), window=3)
  np.testing.assert_array_equal(clips.reshape(2, 3), [[0, 1, 2], [3, 5, 7]])


def test_fits():
  assert fits_on_device(1000) and not fits_on_device(10**15)


@pytest.mark.parametrize('kind', ['array', 'file', 'part of a file'])
def test_clips_are_read_from_wherever_they_are(tmp_path, table, rng, kind):
  frames = rng.integers(0, 256, (40, 4, 6), dtype=np.uint8)
  np.save(
    tmp_path / 'frames.npy',
    np.concatenate([frames[:3], frames]) if kind == 'part of a file' else frames,
  )
  mapped = np.load(tmp_path / 'frames.npy', mmap_mode='r')
  source = {'array': frames, 'file': mapped, 'part of a file': mapped[3:]}[kind]
  clips = ClipReader(source, window=3)(table.first, table.stride)
  np.testing.assert_array_equal(
    clips, frames[table.first[:, None] + (table.stride[:, None] * np.arange(3)).astype(int)]
  )
  assert clips.ctypes.data % 64 == 0
  np.testing.assert_array_equal(ClipReader(source, window=1).span(5, 9), frames[5:9])


def test_a_file_that_shrank_is_an_error(tmp_path, table):
  np.save(tmp_path / 'frames.npy', np.zeros((40, 4, 6), np.uint8))
  reader = ClipReader(np.load(tmp_path / 'frames.npy', mmap_mode='r'), window=3)
  with open(tmp_path / 'frames.npy', 'r+b') as file:
    file.truncate(400)
  with pytest.raises(OSError, match='ended while frame'):
    reader(table.first, table.stride)


@pytest.mark.slow
@pytest.mark.parametrize('first_step', [0, 3])
def test_streamed_equals_resident_bit_for_bit(table, rng, first_step):
  from a3dcae_jax.data.pipeline import prefetch_to_device, stream_batches

  frames = rng.integers(0, 256, (40, 4, 6), dtype=np.uint8)
  put = []
  batches = stream_batches(frames, table, batch_size=4, window=3, seed=7, first_step=first_step)
  for step, clips in enumerate(
    itertools.islice(prefetch_to_device(batches, lambda b: put.append(0) or b), 4), start=first_step
  ):
    first, stride = clip_batch(table, batch_size=4, seed=7, step=step)
    np.testing.assert_array_equal(
      clips, gather_clips(jnp.asarray(frames), jnp.asarray(first), jnp.asarray(stride), window=3)
    )
  assert len(put) >= 5  # ahead of the consumer
