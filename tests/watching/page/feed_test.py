"""What the page shows of sources: bounded, in order, and ready for JSON."""

import io
import json
import threading
import time

import numpy as np
import pytest
from PIL import Image

from a3dcae_jax.watching.notify import Message
from a3dcae_jax.watching.page import feed as feeds
from a3dcae_jax.watching.page.feed import STRIP_S, Feed
from a3dcae_jax.watching.page.pictures import Pictures
from tests.watching.page import made
from tests.watching.page.made import START_S, record, scored, source, watch


@pytest.fixture
def feed(tmp_path):
  return Feed(tmp_path, (0.0, 0.01))


def test_points_and_strip_keep_the_highest_scores_and_do_not_grow(feed):
  view = feed.begin(source(), 5.0)
  count = 4 * 200_000  # a frame per quarter of a second, for 55 hours
  for frame in range(0, count, 100):
    view.add(scored(frame, float(frame == 400_000)), None, START_S + frame / 4)
  assert len(view.state()['points']) == feeds.POINTS
  strip = view.strip(0)
  assert len(strip) == feeds.STRIP_HOURS * 3600 // STRIP_S
  numbers = [number for number, _ in strip]
  assert numbers == sorted(set(numbers))
  assert view.strip(numbers[-2]) == strip[-2:]


def test_one_high_score_is_seen_in_the_small_plot_and_in_the_timeline(feed):
  view = feed.begin(source(), 5.0)
  for frame in range(100):
    view.add(scored(frame, 9.0 if frame == 57 else 1.0), None, START_S + frame / 25)
  points = view.state()['points']
  assert points == [9.0 if index == 57 // 4 else 1.0 for index in range(25)]
  assert [score for _, score in view.strip(0)].count(9.0) == 1


def test_scores_that_are_no_numbers_are_valid_json(feed):
  view = feed.begin(source(), float('inf'))
  for score in (np.inf, np.nan, 1.0, np.nan):
    view.add(scored(0, score), None, START_S)
  state = view.state()
  json.dumps(state, allow_nan=False)
  assert state['score'] is None
  assert view.strip(0) == [[int(START_S // STRIP_S), 1.0]]


def test_the_state_follows_events_and_faults(feed):
  view = feed.begin(source(), 5.0)
  assert view.state()['state'] == 'waiting'
  view.add(scored(0, 1.0), None, time.time())
  assert view.state()['state'] == 'ok'
  feed.add(Message(record('abnormal', 'start', 'a'), b''))
  assert view.state()['state'] == 'abnormal'
  feed.add(Message(record('abnormal', 'end', 'a'), b''))
  assert view.state()['state'] == 'ok'
  feed.add(Message(record('lost', 'start', 'b', message='no answer'), b''))
  feed.measure([watch(view, captured=9, scored=7, dropped=2, fault='lost')])
  state = view.state()
  assert (state['state'], state['message']) == ('lost', 'no answer')
  assert (state['captured'], state['scored'], state['dropped']) == (9, 7, 2)
  assert state['faults'] == {'lost': 1}
  feed.add(Message(record('lost', 'end', 'b'), b''))
  feed.measure([watch(view)])
  assert (view.state()['state'], view.state()['message']) == ('ok', '')
  feed.end(watch(view))
  assert view.state()['state'] == 'ended'


def test_the_threshold_is_that_of_the_hour(feed):
  view = feed.begin(source(), 5.0)
  assert view.state()['threshold'] == 5.0
  feed.measure([watch(view, threshold=7.0)])
  assert view.state()['threshold'] == 7.0
  view.add(scored(0, 6.0), made.picture(0), START_S)
  assert not view.shown.is_abnormal


def test_rates_are_those_of_the_last_seconds(feed, monkeypatch):
  now = [100.0]
  monkeypatch.setattr(feeds.time, 'monotonic', lambda: now[0])
  view = feed.begin(source(), 5.0)
  for second in range(1, 12):
    now[0] += 1.0
    rate = 10 if second <= 5 else 30
    captured = 10 * min(second, 5) + rate * max(0, second - 5)
    feed.measure([watch(view, captured=captured, scored=captured // 2)])
  assert view.state()['captured_per_s'] == 30.0
  assert view.state()['scored_per_s'] == 15.0


def test_the_latency_is_the_longest_of_the_last_seconds(feed, monkeypatch):
  now = [100.0]
  monkeypatch.setattr(feeds.time, 'monotonic', lambda: now[0])
  monkeypatch.setattr(feeds.time, 'time', lambda: START_S)
  view = feed.begin(source(), 5.0)
  view.add(scored(0, 1.0), None, START_S - 2.0)
  feed.measure([watch(view, captured=1)])
  assert view.state()['latency_s'] == 2.0
  for _ in range(12):
    now[0] += 1.0
    view.add(scored(0, 1.0), None, START_S - 0.5)
    feed.measure([watch(view, captured=1)])
  assert view.state()['latency_s'] == 0.5


def test_of_an_archive_the_last_files_stay_visible(feed):
  views = [feed.begin(source(f'{index}.avi', 'file'), 5.0) for index in range(10)]
  for view in views[:8]:
    feed.end(watch(view))
  shown = [view.number for view in feed.views()]
  assert shown == [4, 5, 6, 7, 8, 9]
  assert feed.view(0) is None
  assert feed.view(9) is views[9]


def test_it_is_ready_once_every_live_source_has_a_score(feed):
  assert feed.obstacle() == 'the program is being compiled'
  first, second = feed.begin(source('a'), 5.0), feed.begin(source('b'), 5.0)
  first.add(scored(0, 1.0), None, time.time())
  assert feed.obstacle() == '1 of 2 sources have no score yet'
  second.add(scored(0, 1.0), None, time.time())
  assert feed.obstacle() == ''
  feed.measure([watch(second, fault='lost')])
  assert feed.obstacle() == '1 of 2 sources are lost or have stalled'


def test_a_picture_is_encoded_once_for_all_browsers(feed, monkeypatch):
  now = [100.0]
  monkeypatch.setattr('a3dcae_jax.watching.page.pictures.time.monotonic', lambda: now[0])
  view = feed.begin(source(), 5.0)
  pictures = Pictures(feed)
  assert pictures.jpeg(view, False) == b''
  view.add(scored(0, 1.0, np.full((4, 6), 0.08)), made.picture(0), START_S)
  first = pictures.jpeg(view, False)
  assert first[:2] == b'\xff\xd8'
  view.add(scored(1, 1.0, np.full((4, 6), 0.08)), made.picture(1, grey=20), START_S)
  assert pictures.jpeg(view, False) is first
  assert pictures.jpeg(view, True) != first
  now[0] += 1.0
  assert pictures.jpeg(view, False) != first


def test_objects_are_shown_as_boxes(feed):
  view = feed.begin(source(), 5.0)
  objects = np.array([[0.25, 0.25, 0.75, 0.75, 9.0]])
  view.add(scored(0, 6.0)._replace(heat=None, objects=objects), made.picture(0), START_S)
  content = Pictures(feed).jpeg(view, True)
  image = np.asarray(Image.open(io.BytesIO(content)).convert('RGB')).astype(int)
  red = image[..., 0] - image[..., 2]
  assert red[16, 30:60].mean() > 60  # the upper edge of the box
  assert abs(red[32, 48]) < 30


def test_the_detector_does_not_wait_for_a_picture_that_is_being_drawn(feed, monkeypatch):
  view = feed.begin(source(), 5.0)
  view.add(scored(0, 1.0), made.picture(0), START_S)
  begun, goes_on = threading.Event(), threading.Event()

  def slow(image, *_):
    begun.set()
    assert goes_on.wait(20)
    return image

  monkeypatch.setattr('a3dcae_jax.watching.page.pictures.draw_marks', slow)
  drawing = threading.Thread(target=Pictures(feed).jpeg, args=(view, True))
  drawing.start()
  assert begun.wait(20)

  def work():
    view.add(scored(1, 1.0), made.picture(1), START_S)
    feed.add(Message(record('abnormal', 'start', 'a'), b''))
    feed.measure([watch(view, captured=2)])

  detector = threading.Thread(target=work, daemon=True)
  detector.start()
  detector.join(10)
  assert not detector.is_alive()
  goes_on.set()
  drawing.join(20)
