"""A stream has the scores of an evaluation with causal smoothing, as early as its latency says."""

import types

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.serving import images, stream_events
from a3dcae_jax.serving.artefact import export_object_program, export_program
from a3dcae_jax.serving.bundle import load_bundle, write_bundle
from a3dcae_jax.serving.frame_streams import FrameStream
from a3dcae_jax.serving.object_bundle import write_object_bundle
from a3dcae_jax.serving.object_statistics import ObjectStatistics
from a3dcae_jax.serving.stream import StreamScorer
from a3dcae_jax.serving.stream_events import END_FRAMES, START_FRAMES, EventDetector
from a3dcae_jax.serving.video import cut_windows

WINDOW = 8
SHAPE = (10, 12)
MEAN = np.full(SHAPE, 0.25, np.float32)
WEIGHTS = {'scale': np.float32([3.0])}
STREAM = {'threshold': 1.5}


def frame_program(weights, mean_image, clips):
  """Errors depend on all frames of the clip, like those of a network."""
  pixels = clips.astype(jnp.float32) / 255 - mean_image
  positions = 1 + jnp.arange(WINDOW, dtype=jnp.float32).reshape(1, -1, 1, 1)
  around = pixels.mean(1, keepdims=True)
  maps = jnp.square(pixels + around) * weights['scale'] * positions
  return maps.mean((2, 3)), maps


def object_program(weights, frames, rows, corners):
  clips = frames[rows].astype(jnp.float32) / 255
  changes = jnp.abs(jnp.diff(clips, axis=1)).mean((1, 2, 3)) * weights['scale']
  grey = clips.mean((1, 2, 3)) + corners[:, 0] / 100
  return jnp.stack([grey, grey + 1, changes, grey + 1, changes + corners[:, 3]], axis=1)


def calibration_of(**changes):
  return {
    'per_position': True,
    'position_mean': np.linspace(0.5, 2, WINDOW).tolist(),
    'weights': {'appearance': 0.5, 'motion': 0.5, 'speed': 1.0},
    'mean': 0.7,
    'std': 0.3,
    'step_frames': 4,
    'smoothing_frames': 2.5,
    'smoothing_mode': 'causal',
    'threshold': 1.5,
  } | changes


@pytest.fixture(scope='module')
def models():
  frames = export_program(frame_program, frame_program, WEIGHTS, MEAN, window=WINDOW, dtype='uint8')
  objects = export_object_program(
    object_program, object_program, WEIGHTS, window=WINDOW, height=SHAPE[0], width=SHAPE[1]
  )
  return frames, objects


@pytest.fixture
def frame_bundle(tmp_path, models):
  def make(stride=1, **changes):
    write_bundle(
      tmp_path / 'frames',
      models={'uint8': models[0]},
      weights=WEIGHTS,
      mean_image=MEAN,
      window=WINDOW,
      stride=stride,
      details={'calibration': calibration_of(**changes), 'stream': STREAM},
    )
    return load_bundle(tmp_path / 'frames')

  return make


@pytest.fixture(params=[1, 4])
def object_bundle(request, tmp_path, models):
  rng = np.random.default_rng(1)
  statistics = ObjectStatistics.fit(
    rng.uniform([0, 0.5], [0.4, 1], (50, 2)), rng.uniform(0.5, 2, (50, 5))
  )
  write_object_bundle(
    tmp_path / 'objects',
    model=models[1],
    weights=WEIGHTS,
    statistics=statistics,
    details={'calibration': calibration_of(step_frames=request.param), 'stream': STREAM},
  )
  return load_bundle(tmp_path / 'objects')


def video_of(rng, count):
  return rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8)


def boxes_of(rng, count):
  """Return up to three boxes for each frame."""
  boxes = []
  for _ in range(count):
    upper = rng.uniform(0, 5, (rng.integers(0, 4), 2))
    boxes.append(np.concatenate([upper, upper + rng.uniform(1, 5, upper.shape)], axis=1))
  return boxes


def streamed(scorer, frames, boxes=None, stream=0):
  """Return the scores that come before the end, by their frame, and those at the end."""
  early = {}
  for index, frame in enumerate(frames):
    scorer.add(frame, None if boxes is None else boxes[index], stream)
    for scored in scorer.scores():
      assert scored.frame == len(early)
      late = index - scored.frame > scorer.latency_frames
      assert not late or index + 1 == WINDOW * scorer.bundle.stride
      early[scored.frame] = (index, scored.score)
  return early, [scored.score for scored in scorer.flush(stream)]


@pytest.mark.parametrize(
  'count, stride, changes',
  [
    (61, 1, {'step_frames': 0}),
    (101, 3, {'step_frames': 0}),
    (64, 1, {}),
    (20, 3, {}),  # too short for the stride
    (8, 1, {'smoothing_frames': 9.0, 'per_position': False}),
    (30, 1, {'smoothing_frames': 0.0, 'step_frames': 3}),
  ],
)
def test_scores_of_frames_are_those_of_the_evaluation(frame_bundle, rng, count, stride, changes):
  """`score_video` is compared with the evaluation in `video_test`."""
  bundle = frame_bundle(stride, **changes)
  frames = video_of(rng, count)
  early, late = streamed(StreamScorer(bundle), frames)
  expected = bundle.score_video(frames)
  got = np.asarray([score for _, score in early.values()] + late)
  assert len(got) == count
  # The window that ends with the video counts for frames that a stream has given before.
  step = bundle.manifest['calibration']['step_frames']
  changed = slice(0, 0)
  if step:
    changed = slice(max(0, count - WINDOW * stride), None)
  same = np.ones(count, bool)
  same[changed] = False
  np.testing.assert_allclose(got[same], expected[same], rtol=1e-5, atol=1e-5)
  if not step or count < WINDOW * stride or (count - WINDOW) % step == 0 and stride == 1:
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_scores_of_objects_are_those_of_the_evaluation(object_bundle, rng):
  frames, boxes = video_of(rng, 45), boxes_of(rng, 45)
  early, late = streamed(StreamScorer(object_bundle), frames, boxes)
  frame = np.repeat(np.arange(45), [len(own) for own in boxes])
  expected = object_bundle.score_video(frames, (frame, np.concatenate(boxes)))
  got = [score for _, score in early.values()] + late
  np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)
  latency = StreamScorer(object_bundle).latency_frames
  assert latency == 3 + object_bundle.step - 1
  assert len(late) <= latency


@given(
  num_frames=st.integers(2, 90),
  window=st.integers(2, 8),
  step=st.integers(0, 8),
  stride=st.integers(1, 4),
)
def test_errors_of_any_windows_are_those_of_the_evaluation(num_frames, window, step, stride):
  num_frames, step = max(num_frames, window), min(step, window)
  bundle = types.SimpleNamespace(
    window=window, stride=stride, height=1, width=1, manifest={'calibration': {'step_frames': step}}
  )
  stream = FrameStream(bundle)
  got = []

  def errors_of(rows):
    return np.sin(1.7 * rows + 0.3 * rows[..., :1] + 0.1 * rows[..., -1:])

  def take(ended):
    for each in stream.complete:
      stream.put(each, errors_of(each.frames), np.zeros((window, 1, 1)))
    stream.complete = []
    got.extend(each.error for each in stream.errors(ended))

  for index in range(num_frames):
    stream.add(np.zeros((1, 1), np.uint8))
    before = len(got)
    take(ended=False)
    late = len(got) > before and index - before > stride * (window - 1)
    assert not late or index + 1 == window * stride
  given_early = len(got)
  stream.end()
  take(ended=True)
  rows, keep = cut_windows(num_frames, window=window, step=step, stride=stride)
  expected = np.bincount(rows[keep], errors_of(rows)[keep]) / np.bincount(rows[keep])
  assert len(got) == num_frames
  differs = np.abs(got - expected) > 1e-9
  # The window that ends with the video cannot change what was given before.
  assert not differs[given_early:].any()
  assert differs.sum() < max(step * stride, 1)


@pytest.mark.parametrize('kind', ['frames', 'objects'])
def test_no_score_depends_on_frames_after_its_latency(frame_bundle, object_bundle, rng, kind):
  bundle = frame_bundle(stride=2) if kind == 'frames' else object_bundle
  frames, boxes = video_of(rng, 60), None
  if kind == 'objects':
    boxes = boxes_of(rng, 60)
  latency = StreamScorer(bundle).latency_frames
  before, _ = streamed(StreamScorer(bundle), frames, boxes)
  changed = frames.copy()
  changed[40:] //= 2
  after, _ = streamed(StreamScorer(bundle), changed, boxes)
  same = [frame for frame in before if frame + latency < 40]
  assert [before[frame] for frame in same] == [after[frame] for frame in same]
  if kind == 'frames' or bundle.step == 1:
    assert max(same) == 39 - latency
  assert before[max(before)] != after[max(before)]


def test_streams_in_common_batches_do_not_change_each_other(frame_bundle, object_bundle, rng):
  for bundle in (frame_bundle(stride=2), object_bundle):
    frames = [video_of(rng, count) for count in (40, 33, 20)]
    boxes = [boxes_of(rng, 40) if bundle is object_bundle else [None] * 40 for _ in frames]
    together = StreamScorer(bundle, streams=3)
    found = [[], [], []]
    for index in range(40):
      for stream, own in enumerate(frames):
        if index < len(own):
          together.add(own[index], boxes[stream][index], stream)
      for scored in together.scores():
        found[scored.stream].append(scored.score)
    for stream, own in enumerate(frames):
      found[stream] += [scored.score for scored in together.flush(stream)]
      single = None if bundle is not object_bundle else boxes[stream]
      early, late = streamed(StreamScorer(bundle), own, single)
      expected = [score for _, score in early.values()] + late
      np.testing.assert_allclose(found[stream], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('streams', [1, 3, 8])
def test_no_batch_is_compiled_after_the_warm_up(frame_bundle, rng, monkeypatch, streams):
  bundle = frame_bundle()
  scorer = StreamScorer(bundle, streams)
  sizes = []
  original = bundle._call

  def called(clips):
    sizes.append(len(clips))
    return original(clips)

  monkeypatch.setattr(bundle, '_call', called)
  scorer.warm_up()
  compiled = set(sizes)
  sizes.clear()
  frames = video_of(rng, 40)
  for count in range(1, streams + 1):  # windows that are complete at the same time
    for stream in range(count):
      for frame in frames:
        scorer.add(frame, stream=stream)
    assert scorer.scores()
  assert set(sizes) <= compiled


def test_a_stream_begins_anew_after_its_end(frame_bundle, rng):
  bundle = frame_bundle(smoothing_frames=3.0)
  scorer = StreamScorer(bundle)
  first, second = video_of(rng, 30), video_of(rng, 25)
  streamed(scorer, first)
  scorer.add(first[0])
  assert scorer.flush() == []  # shorter than a window
  for frame in second:
    scorer.add(frame)
  scored = scorer.scores() + scorer.flush()
  assert [each.frame for each in scored] == list(range(31, 56))
  early, late = streamed(StreamScorer(bundle), second)
  expected = [score for _, score in early.values()] + late
  np.testing.assert_allclose([each.score for each in scored], expected, rtol=1e-6)


def test_colours_and_sizes_are_made_those_of_the_training_frames(frame_bundle, rng):
  bundle = frame_bundle()
  large = rng.integers(0, 256, (20, 31, 47, 3), dtype=np.uint8)
  small = [
    np.asarray(Image.fromarray(frame).convert('L').resize(SHAPE[::-1], Image.Resampling.BILINEAR))
    for frame in large
  ]
  assert streamed(StreamScorer(bundle), large) == streamed(StreamScorer(bundle), small)


@pytest.mark.parametrize('size', [(3, 5), (10, 40), (48, 64), (40, 10), (101, 7), (64, 112)])
def test_resizing_is_that_of_pillow(rng, size):
  frame = rng.integers(0, 256, size, dtype=np.uint8)
  for height, width in ((10, 12), (33, 64)):
    image = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
    expected = np.asarray(image).astype(int)
    got = images.prepared(frame, height, width)
    # Recent versions of Pillow begin with the columns where that is cheaper.
    is_squeezed = width / size[1] > height / size[0]
    assert np.abs(got - expected).max() <= is_squeezed


def test_boxes_are_in_pixels_of_the_given_frame(object_bundle, rng):
  large, boxes = rng.integers(0, 256, (12, 20, 36), dtype=np.uint8), boxes_of(rng, 12)
  small = [images.prepared(frame, *SHAPE) for frame in large]
  expected = streamed(StreamScorer(object_bundle), small, boxes)
  got = streamed(StreamScorer(object_bundle), large, [own * [3, 2, 3, 2] for own in boxes])
  np.testing.assert_allclose(got[1], expected[1], rtol=1e-5)


def test_the_strongest_region_is_found(frame_bundle, object_bundle):
  frames = np.full((WINDOW, *SHAPE), 63, np.uint8)
  frames[:, 8:, :8] = 255
  scorer = StreamScorer(frame_bundle())
  for frame in frames:
    scorer.add(frame)
  assert scorer.flush()[3].box == (0.0, 0.5, 0.5, 1.0)
  scorer = StreamScorer(object_bundle)
  scorer.add(frames[0], [[0, 0, 2, 2], [6, 5, 12, 10]])
  for _ in range(object_bundle.step):
    scorer.add(frames[0], [])
  first, *_, last = scorer.flush()
  assert first.box == (0.5, 0.5, 1.0, 1.0)
  assert last.box is None


def test_wrong_frames_and_boxes_are_refused(frame_bundle, object_bundle):
  frames, objects = StreamScorer(frame_bundle()), StreamScorer(object_bundle)
  grey = np.zeros(SHAPE, np.uint8)
  for wrong in (grey.astype(float), grey[0], [1, 2], np.zeros((4, 4, 4), np.uint8), grey[:0]):
    with pytest.raises(UserError, match='must be a NumPy array uint8'):
      frames.add(wrong)
  with pytest.raises(UserError, match='scores whole frames'):
    frames.add(grey, [])
  with pytest.raises(UserError, match='give the boxes'):
    objects.add(grey)
  with pytest.raises(UserError, match=r'must be float \[M, 4\]'):
    objects.add(grey, [[1, 2, 3]])
  with pytest.raises(UserError, match='x2 > x1'):
    objects.add(grey, [[1, 2, 1, 3]])


def test_a_bundle_without_a_threshold_for_streams_is_named(frame_bundle):
  bundle = frame_bundle()
  assert StreamScorer(bundle).threshold == 1.5
  del bundle.manifest['stream']
  with pytest.raises(UserError, match='export the run again'):
    _ = StreamScorer(bundle).threshold


def changes_of(scores, threshold=1.0):
  detector = EventDetector(threshold)
  found = [detector.add(frame, score) for frame, score in enumerate(scores)]
  return [(frame, change) for frame, change in enumerate(found) if change], detector


def test_an_event_starts_and_ends_with_debounce():
  high = [0.0] * 3 + [1.0, 1.5, 3.0, 2.0, 1.0] + [0.0] * END_FRAMES
  changes, detector = changes_of(high)
  assert [(frame, change.kind) for frame, change in changes] == [
    (3 + START_FRAMES - 1, 'start'),
    (len(high) - 1, 'end'),
  ]
  end = changes[1][1]
  assert (end.first_frame, end.last_frame, end.peak_frame, end.peak_score) == (3, 7, 5, 3.0)
  assert not detector.is_open


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), max_size=12))
def test_events_are_counted_as_they_are_found(runs):
  scores = np.concatenate([np.full(length, float(is_high)) for is_high, length in runs] or [[]])
  found = [change for _, change in changes_of(scores)[0] if change.kind == 'start']
  assert stream_events.count_events(scores, 1.0) == len(found)


def test_short_peaks_start_nothing_and_short_gaps_end_nothing():
  peak = [1.0] * (START_FRAMES - 1) + [0.0]
  assert changes_of(peak * 10)[0] == []
  gap = [1.0] * START_FRAMES + [0.0] * (END_FRAMES - 1)
  changes, detector = changes_of(gap * 3)
  assert [change.kind for _, change in changes] == ['start']
  assert detector.end().last_frame == len(gap) * 2 + START_FRAMES - 1
  assert detector.end() is None
  assert stream_events.count_events(gap * 3, 1.0) == 1


def test_expected_events_are_told_without_powers_of_ten():
  few = {'per_hour': 1.0067, 'low': 0.207, 'high': 2.94}
  assert stream_events.rate_text(few) == '1.01 per hour (95 %: 0.21 to 2.9)'
  unknown = {'per_hour': 0.0, 'low': 0.0, 'high': 239.6}
  assert stream_events.rate_text(unknown) == '0 per hour (95 %: 0 to 240)'
  hours = [0.0154, 0.9, 2.98, 1234.5]
  texts = ['0.92 min', '54 min', '2.98 h', '1234 h']
  assert [stream_events.duration_text(each) for each in hours] == texts
