"""Sources watched from their frames to files and messages."""

import csv
import functools
import http.server
import json
import os
import pathlib
import threading
import time
import urllib.request

import av
import numpy as np
import pytest
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.video_file import read_video
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.stream import StreamScorer
from a3dcae_jax.watching import capture, health, reader, session
from a3dcae_jax.watching.output import SourceFolder, utc_text
from a3dcae_jax.watching.page.access import Address
from a3dcae_jax.watching.page.event_list import EventList
from a3dcae_jax.watching.page.feedback import Feedback
from a3dcae_jax.watching.page.server import PageServer
from a3dcae_jax.watching.session import Options, detect
from a3dcae_jax.watching.sources import find_sources
from tests.watching.toy import (
  HttpCamera,
  RtspCamera,
  camera,
  jpeg,
  write_toy_bundle,
  write_video,
)

BRIGHT = range(40, 70)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp('watching')


@pytest.fixture(scope='module')
def bundle(folder):
  return str(write_toy_bundle(folder / 'toy.bundle'))


@pytest.fixture(scope='module')
def video(folder):
  return str(write_video(folder / 'day.avi', camera(150, BRIGHT)))


def watch(bundle, texts, out, **options):
  notifier = Recording()
  failed = detect(bundle, find_sources(texts), Options(out, **options), [notifier])
  return failed, notifier.messages


class Recording:
  """A notifier that keeps all messages."""

  lost = 0

  def __init__(self):
    self.messages = []

  def add(self, message):
    self.messages.append(message)

  def close(self):
    pass


def scores_in(path):
  with open(path / 'scores.csv', newline='') as file:
    return [(int(row['frame']), float(row['score']), row['event']) for row in csv.DictReader(file)]


def events_in(path):
  return [json.loads(line) for line in (path / 'events.jsonl').read_text().splitlines()]


def until(condition, seconds=20):
  end = time.monotonic() + seconds
  while not condition():
    assert time.monotonic() < end, 'it does not come to pass'
    time.sleep(0.02)


class Background:
  """`detect` in a thread, until the block ends."""

  def __init__(self, bundle, texts, out, **options):
    self.notifier = Recording()
    self._session = None
    self._arguments = bundle, find_sources(texts), Options(out, **options), [self.notifier]

  def __enter__(self):
    made = session.Session

    def keep(*arguments):
      self._session = made(*arguments)
      return self._session

    session.Session = keep
    self._thread = threading.Thread(target=detect, args=self._arguments)
    self._thread.start()
    until(lambda: self._session and self._session.watches)
    session.Session = made
    return self

  def __exit__(self, *_):
    self._session.stop()
    self._thread.join(20)
    assert not self._thread.is_alive()

  @property
  def watches(self):
    return {watch.source.name: watch for watch in self._session.watches.values()}

  def kinds(self, source=None):
    return [
      (message.record['kind'], message.record['type'])
      for message in self.notifier.messages
      if source in (None, message.record['source'])
    ]


def test_a_file_has_the_scores_of_the_stream_and_one_event(bundle, video, tmp_path):
  failed, messages = watch(bundle, [video], tmp_path / 'out', overlay=True)
  assert failed == 0
  path = tmp_path / 'out' / 'day.avi'
  scorer = StreamScorer(load_bundle(bundle))
  expected = []
  for frame in read_video(video):
    scorer.add(frame)
    expected += scorer.scores()
  expected += scorer.flush()
  rows = scores_in(path)
  assert [frame for frame, _, _ in rows] == list(range(150))
  np.testing.assert_allclose([row[1] for row in rows], [each.score for each in expected], rtol=1e-4)
  start, *_, end = events_in(path)
  assert [message.record for message in messages] == events_in(path)
  assert (start['type'], end['type']) == ('start', 'end')
  assert start['id'] == end['id'] == rows[60][2] == 'day.avi-40'
  assert (end['first_frame'], end['last_frame']) == (40, 69)
  assert (start['frame'], end['frame']) == (44, 119)  # the 5th above, the 50th below
  assert end['peak_score'] > start['threshold'] == 1.5
  x1, y1, x2, y2 = end['box']
  assert (x1, y2) == (0, 1)
  assert 0.3 < x2 < 0.6
  assert 0.4 < y1 < 0.6
  assert messages[0].still[:2] == b'\xff\xd8' == (path / end['still']).read_bytes()[:2]
  with av.open(str(path / end['clip'])) as clip:
    times = [frame.time for frame in clip.decode(video=0)]
  assert 3.0 < times[-1] < 8.0  # what was before the event, the event, and 2 s
  with av.open(str(path / 'overlay.mp4')) as clip:
    assert clip.streams.video[0].height == 64 + 64
    assert sum(1 for _ in clip.decode(video=0)) >= 70


def test_time_and_frame_of_a_message_are_those_of_one_frame(bundle, tmp_path, capsys):
  rng = np.random.default_rng(0)
  black = [rng.integers(0, 20, (64, 96)).astype(np.uint8) for _ in range(50)]
  frames = [*camera(130, BRIGHT), *black, *camera(40, range(20, 40))]
  path = write_video(tmp_path / 'day.avi', frames)
  _, messages = watch(bundle, [str(path)], tmp_path / 'out')
  folder = tmp_path / 'out' / 'day.avi'
  with open(folder / 'scores.csv', newline='') as file:
    times = [float(row['time_s']) for row in csv.DictReader(file)]
  told = capsys.readouterr().out.splitlines()
  records = events_in(folder)
  assert [message.record for message in messages] == records
  black = [record['frame'] for record in records if record['kind'] == 'black']
  abnormal = [record['frame'] for record in records if record['kind'] == 'abnormal']
  assert 130 < black[0] < 180 <= black[1] < 190  # scenes are looked at every 0.2 s
  assert abnormal[:2] == [44, 119]
  assert abnormal[-1] == 219  # the source ends within an event
  for record in records:
    assert record['time_s'] == times[record['frame']]
    place = f'at {record["time_s"]:.1f} s, frame {record["frame"]}'
    assert any(record['id'] in line and place in line for line in told) or record['kind'] == 'black'
  listed = EventList(tmp_path / 'out')
  listed.load(find_sources([str(path)]))
  first = listed.newest()[-1]
  assert (first.start_frame, utc_text(first.start_s)) == (44, records[0]['time'])


def test_where_covered_cameras_are_not_found_that_is_said_once(
  bundle, video, tmp_path, capsys, monkeypatch
):
  watch(bundle, [video], tmp_path / 'scene')
  assert 'not found' not in capsys.readouterr().out
  monkeypatch.setattr(session, 'mean_images', lambda _: np.full((1, 32, 48), 0.5))
  watch(bundle, [video], tmp_path / 'wall')
  line = 'day.avi: covered and moved cameras are not found, since the scene of the training videos'
  assert capsys.readouterr().out.count(line) == 1


def test_an_archive_resumes_where_it_stopped(bundle, video, tmp_path, capsys):
  archive = tmp_path / 'archive'
  for name in ('a/one.avi', 'a/two.avi', 'b/one.avi'):
    (archive / name).parent.mkdir(parents=True, exist_ok=True)
    (archive / name).write_bytes(pathlib.Path(video).read_bytes())
  out = tmp_path / 'out'
  watch(bundle, [str(archive)], out)
  first = {path: path.stat().st_mtime_ns for path in out.rglob('summary.json')}
  assert sorted(path.parent.relative_to(out).as_posix() for path in first) == [
    'a/one.avi',
    'a/two.avi',
    'b/one.avi',
  ]
  (out / 'a' / 'two.avi' / 'summary.json').unlink()  # as if it had been killed there
  (out / 'a' / 'two.avi' / 'scores.csv').write_text('half\n')
  capsys.readouterr()
  watch(bundle, [str(archive)], out)
  assert '2 of 3 sources are finished already' in capsys.readouterr().out
  assert len(scores_in(out / 'a' / 'two.avi')) == 150
  again = {path: path.stat().st_mtime_ns for path in out.rglob('summary.json')}
  assert [path.parent.name for path in first if again[path] != first[path]] == ['two.avi']
  write_video(archive / 'b' / 'one.avi', camera(20))  # another video under the same name
  watch(bundle, [str(archive)], out)
  assert len(scores_in(out / 'b' / 'one.avi')) == 20


def test_a_file_that_is_cut_off_is_scored_as_far_as_it_goes(bundle, video, tmp_path, capsys):
  content = pathlib.Path(video).read_bytes()
  (tmp_path / 'cut.avi').write_bytes(content[: len(content) * 2 // 3])
  (tmp_path / 'text.mp4').write_text('no video')
  failed, messages = watch(
    bundle, [str(tmp_path / 'text.mp4'), str(tmp_path / 'cut.avi'), video], tmp_path / 'out'
  )
  assert failed == 2
  errors = capsys.readouterr().err.splitlines()
  assert len(errors) == 2
  assert any('text.mp4 stops decoding at frame 0' in line for line in errors)
  assert any('cut.avi' in line and ('cut off' in line or 'damaged' in line) for line in errors)
  assert 60 < len(scores_in(tmp_path / 'out' / 'cut.avi')) < 150
  assert len(scores_in(tmp_path / 'out' / 'day.avi')) == 150
  assert ('lost', 'start') in [(m.record['kind'], m.record['type']) for m in messages]
  assert not (tmp_path / 'out' / 'cut.avi' / 'summary.json').exists()


@pytest.fixture
def quick(monkeypatch):
  """Wait tenths of seconds where a camera has seconds."""
  monkeypatch.setattr(reader, 'FIRST_WAIT_S', 0.1)
  monkeypatch.setattr(capture, 'STALL_S', 0.6)
  monkeypatch.setattr('a3dcae_jax.watching.watch.STALL_S', 0.4)
  monkeypatch.setattr('a3dcae_jax.watching.watch.WATCHDOG_S', 60.0)
  monkeypatch.setattr(session, '_FLUSH_S', 0.05)
  monkeypatch.setattr(health, 'FROZEN_FRAMES', 30)


def test_a_camera_that_breaks_and_comes_back_does_not_stop_the_others(bundle, tmp_path, quick):
  first, second = HttpCamera(list(camera(40))), HttpCamera(list(camera(40)))
  out = tmp_path / 'out'
  with Background(bundle, [f'a={first.address}', f'b={second.address}'], out) as running:
    until(lambda: running.watches['a'].scored > 20 and running.watches['b'].scored > 20)
    first.stop()
    until(lambda: ('lost', 'start') in running.kinds('a'))
    assert running.watches['a'].scored == running.watches['a'].reader.captured
    seen = running.watches['b'].scored
    until(lambda: running.watches['b'].scored > seen + 20)
    first = HttpCamera(list(camera(40)), port=first.port)
    until(lambda: ('lost', 'end') in running.kinds('a'))
    seen = running.watches['a'].scored
    until(lambda: running.watches['a'].scored > seen + 20)
    second.is_stalled = True
    until(lambda: {('stalled', 'start'), ('lost', 'start')} & set(running.kinds('b')))
    second.is_stalled = False
    until(lambda: running.kinds('b') and running.kinds('b')[-1][1] == 'end')
    assert not [kind for kind, _ in running.kinds() if kind == 'abnormal']
  first.stop()
  second.stop()
  frames = [frame for frame, _, _ in scores_in(out / 'a')]
  assert frames == sorted(set(frames))
  assert [event['kind'] for event in events_in(out / 'a')] == ['lost', 'lost']


def test_faults_of_a_camera_are_told_apart(bundle, tmp_path, quick, monkeypatch):
  monkeypatch.setattr(health, 'AFTER_S', dict.fromkeys(health.AFTER_S, 0.2))
  normal = list(camera(40))
  server = HttpCamera(normal)
  pictures = server.frames
  with Background(bundle, [f'door={server.address}'], tmp_path / 'out') as running:
    until(lambda: running.watches['door'].scored > 10)
    rng = np.random.default_rng(0)
    cases = {
      'frozen': normal[:1],
      'black': [rng.integers(0, 20, (64, 96)).astype(np.uint8) for _ in range(20)],
      'covered': [rng.integers(90, 94, (64, 96)).astype(np.uint8) for _ in range(20)],
      'moved': [np.ascontiguousarray(np.roll(frame, 30, 1)) for frame in normal],
    }
    for kind, frames in cases.items():
      server.frames = [jpeg(frame) for frame in frames]
      until(lambda kind=kind: (kind, 'start') in running.kinds())
      server.frames = pictures
      until(lambda kind=kind: (kind, 'end') in running.kinds())
    # Until a fault is certain, it is abnormal.
    assert {kind for kind, _ in running.kinds()} - {'abnormal'} == set(cases)
    server.frames = [jpeg(np.ascontiguousarray(frame[::2, ::2])) for frame in normal]
    until(lambda: ('size', 'notice') in running.kinds())
    messages = [message.record['message'] for message in running.notifier.messages]
    assert 'the size of frames changed from 96x64 to 48x32' in messages
  server.stop()


def test_rtsp_is_read_and_its_password_is_nowhere(bundle, tmp_path, quick, capfd):
  server = RtspCamera(camera(120, range(60, 110)))
  out = tmp_path / 'out'
  with Background(bundle, [f'gate={server.address}'], out) as running:
    until(lambda: ('abnormal', 'start') in running.kinds())
    until(lambda: server.requests.count('PLAY') > 1)  # it has ended, and is opened again
    until(lambda: ('lost', 'end') in running.kinds())
  server.stop()
  written = ''.join(capfd.readouterr())
  written += ''.join(
    path.read_bytes().decode('latin-1') for path in out.rglob('*') if path.is_file()
  )
  written += json.dumps([message.record for message in running.notifier.messages])
  assert 'hidden' not in written
  assert f'rtsp://127.0.0.1:{server.port}/live' in written


def test_a_reader_that_hangs_is_left_and_another_one_begins(bundle, tmp_path, quick, monkeypatch):
  """As where a driver never returns, so that no time limit of FFmpeg helps."""
  monkeypatch.setattr('a3dcae_jax.watching.watch.WATCHDOG_S', 0.8)
  original = session.capture
  hangs = threading.Event()
  calls = []

  def capture_once(*arguments):
    calls.append(arguments)
    if len(calls) == 1:
      hangs.wait(20)
    yield from original(*arguments)

  monkeypatch.setattr(session, 'capture', capture_once)
  server = HttpCamera(list(camera(40)))
  with Background(bundle, [f'a={server.address}'], tmp_path / 'out') as running:
    until(lambda: ('stalled', 'start') in running.kinds())
    until(lambda: running.watches['a'].scored > 10)
    assert ('stalled', 'end') in running.kinds()
    hangs.set()
    seen = running.watches['a'].scored
    until(lambda: running.watches['a'].scored > seen + 10)
    assert running.watches['a'].latest.score < 1.5
    assert running.watches['a'].picture.image.width == 96
  server.stop()
  frames = [frame for frame, _, _ in scores_in(tmp_path / 'out' / 'a')]
  assert frames == list(range(len(frames)))


def test_a_source_that_is_too_fast_is_dropped_and_counted(bundle, tmp_path, monkeypatch):
  monkeypatch.setattr(reader, 'QUEUE_FRAMES', 8)
  server = HttpCamera(list(camera(40)), pause_s=0.0)
  original = session.Session._score

  def slow(self):
    time.sleep(0.3)
    original(self)

  monkeypatch.setattr(session.Session, '_score', slow)
  with Background(bundle, [f'fast={server.address}'], tmp_path / 'out') as running:
    until(lambda: running.watches['fast'].reader.dropped > 10)
    assert running.watches['fast'].reader.waiting <= 8
  server.stop()


def test_a_full_disk_drops_files_and_not_scores(bundle, video, tmp_path, capsys):
  out = tmp_path / 'out'
  full = pathlib.Path('/dev/full')
  if not full.exists():
    pytest.skip('no /dev/full')
  (out / 'day.avi' / 'events').mkdir(parents=True)
  (out / 'detect.json').write_text('{"format": "a3dcae_jax detections"}')
  original = session.SourceFolder

  class FullFolder(original):
    def __init__(self, *arguments):
      super().__init__(*arguments)
      self.scores._file.close()
      self.scores._file = full.open('ab', buffering=0)
      (self.path / 'events').rmdir()  # no still and no clip can be written
      (self.path / 'events').write_text('')

  session.SourceFolder = FullFolder
  try:
    failed, messages = watch(bundle, [video], out)
  finally:
    session.SourceFolder = original
  assert failed == 1
  assert not (out / 'day.avi' / 'summary.json').exists()  # so it is scored again
  assert [message.record['type'] for message in messages][:1] == ['start']
  written = capsys.readouterr()
  assert written.err.count('scores.csv cannot be written (No space left on device)') == 1
  assert 'scores.csv: 151 lines are lost' in written.err
  assert 'is dropped' in written.err
  assert '150 of 150 frames scored' in written.out
  assert 'files dropped' in written.out


def test_outputs_of_others_and_of_a_second_detector_are_refused(bundle, video, tmp_path, quick):
  other = tmp_path / 'other'
  other.mkdir()
  (other / 'photo.txt').write_text('mine')
  with pytest.raises(UserError, match='has files of something else'):
    watch(bundle, [video], other)
  assert [path.name for path in other.iterdir()] == ['photo.txt']
  server = HttpCamera(list(camera(10)))
  out = tmp_path / 'out'
  with Background(bundle, [f'a={server.address}'], out):
    with pytest.raises(UserError, match='is in use by another detect '):
      watch(bundle, [f'a={server.address}'], out)
    stale = out / 'day.avi' / 'events' / '.half.mp4'
    stale.parent.mkdir(parents=True)
    stale.write_text('of a process that was killed')
    # Another source may be added, and one that is taken does not stop it.
    failed, _ = watch(bundle, [f'a={server.address}', video], out)
    assert failed == 1
    assert len(scores_in(out / 'day.avi')) == 150
    assert not stale.exists()
  server.stop()


def test_an_ignored_region_raises_no_event(bundle, video, tmp_path):
  image = np.zeros((64, 96), np.uint8)
  image[30:, :40] = 255
  Image.fromarray(image).save(tmp_path / 'mask.png')
  _, messages = watch(bundle, [video], tmp_path / 'out', masks=[str(tmp_path / 'mask.png')])
  assert messages == []
  with pytest.raises(UserError, match='there is no source'):
    watch(bundle, [video], tmp_path / 'o2', masks=[f'gate={tmp_path / "mask.png"}'])
  Image.fromarray(image | 255).save(tmp_path / 'all.png')
  with pytest.raises(UserError, match='all of the picture would be ignored'):
    watch(bundle, [video], tmp_path / 'o2', masks=[str(tmp_path / 'all.png')])


def test_events_marked_as_normal_do_not_start_again_with_feedback(bundle, video, tmp_path, capsys):
  other = str(write_video(tmp_path / 'night.avi', camera(150, BRIGHT)))
  out = tmp_path / 'out'
  watch(bundle, [video, other], out)
  events = EventList(out)
  events.load(find_sources([video]))
  (event,) = events.newest()
  line = f'no event of this bundle is marked as normal in {out / "feedback.jsonl"}'
  watch(bundle, [video], out, feedback=True)
  assert line in capsys.readouterr().out
  Feedback(out, load_bundle(bundle).manifest['sha256']).mark(event, True)
  _, messages = watch(bundle, [video, other], out)
  assert messages == []  # finished already
  capsys.readouterr()
  _, messages = watch(bundle, [video, other], out, feedback=True)
  assert messages == []  # the other one still is
  told = capsys.readouterr().out
  assert line not in told
  assert 'above 1 events marked as normal; 0 of 0 other events would not start either' in told
  assert events_in(out / 'day.avi') == []
  assert len(events_in(out / 'night.avi')) >= 2


def test_a_page_shows_what_is_watched_and_what_was_found_before(bundle, video, tmp_path, quick):
  server = HttpCamera(list(camera(40)))
  out = tmp_path / 'out'
  watch(bundle, [video], out)
  sources = find_sources([video, f'a={server.address}'])
  page = PageServer(Address('127.0.0.1', 0), '')
  thread = threading.Thread(
    target=detect, args=(bundle, sources, Options(out, until_s=4), [], page)
  )
  thread.start()

  def asked(path):
    try:
      with urllib.request.urlopen(f'{page.url}{path}', timeout=5) as answer:
        return answer.read()
    except OSError:  # it is not ready yet
      return b''

  until(lambda: asked('readyz') == b'ready\n')
  until(lambda: json.loads(asked('api/state'))['sources'][0]['scored'] > 0)
  state = json.loads(asked('api/state'))['sources']
  assert [source['name'] for source in state] == ['a']
  assert state[0]['state'] == 'ok'
  assert asked(f'pictures/{state[0]["number"]}?marks=1')[:2] == b'\xff\xd8'
  found = json.loads(asked('api/events'))
  assert [event['source'] for event in found['events']] == ['day.avi']
  assert asked(f'clips/{found["events"][0]["key"]}')[4:8] == b'ftyp'
  thread.join(30)
  assert not thread.is_alive()
  assert asked('healthz') == b''  # the port is free again
  server.stop()


def test_each_hour_of_the_day_has_its_threshold(bundle, tmp_path, quick):
  server = HttpCamera(list(camera(40, range(10, 30))))
  hour = time.localtime().tm_hour
  high = {str(each % 24): 1e6 for each in (hour, hour + 1)}
  path = tmp_path / 'a.json'
  sha256 = load_bundle(bundle).manifest['sha256']
  path.write_text(json.dumps({'bundle': sha256, 'thresholds': high}))
  names = [f'{name}={server.address}' for name in 'ab']
  with Background(bundle, names, tmp_path / 'out', hours=[f'a={path}']) as running:
    until(lambda: ('abnormal', 'start') in running.kinds('b'))
    until(lambda: running.watches['a'].scored > 80)
    assert not running.kinds('a')
  server.stop()


def test_a_video_on_a_web_server_is_read_once(bundle, folder, video, tmp_path):
  handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=folder)
  server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), handler)
  threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
  address = f'day=http://127.0.0.1:{server.server_address[1]}/day.avi'
  failed, messages = watch(bundle, [address], tmp_path / 'out', drops=False)
  server.shutdown()
  server.server_close()
  assert failed == 0
  assert len(scores_in(tmp_path / 'out' / 'day')) == 150
  assert [(message.record['kind'], message.record['type']) for message in messages] == [
    ('abnormal', 'start'),
    ('abnormal', 'end'),
  ]


def test_only_old_stills_and_clips_of_this_source_are_removed(tmp_path):
  source = find_sources(['door=http://cam/x'])[0]
  folder = SourceFolder(tmp_path, source, {})
  old, new = 'door-20260101T000000.000Z', 'door-20260301T000000.000Z'
  names = [f'{old}.jpg', f'{old}.mp4', f'{new}.mp4', 'mine.mp4', 'door-holiday.jpg']
  for name in names:
    path = folder.path / 'events' / name
    path.write_text('')
    if new not in name:
      os.utime(path, (0, 0))
  folder.scores.add('0,0,0,')
  folder.remove_old(3.0)
  folder.close(None)
  assert sorted(path.name for path in (folder.path / 'events').iterdir()) == sorted(names[2:])
  assert len(scores_in(folder.path)) == 1


def test_the_overlay_of_a_live_source_is_readable_while_it_grows(bundle, tmp_path, quick):
  server = HttpCamera(list(camera(40)), pause_s=0.02)
  out = tmp_path / 'out'

  def shown():
    (path,) = (out / 'a').glob('overlay-*.mp4')
    try:
      with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))
    except av.error.FFmpegError:  # nothing has been written yet
      return 0

  with Background(bundle, [f'a={server.address}'], out, overlay=True) as running:
    until(lambda: running.watches['a'].scored > 100)
    until(lambda: shown() > 5)
  server.stop()


def test_it_ends_after_the_time_that_was_set(bundle, tmp_path, quick):
  server = HttpCamera(list(camera(10)))
  start = time.monotonic()
  failed, _ = watch(bundle, [server.address], tmp_path / 'out', until_s=0.5)
  assert failed == 0
  assert time.monotonic() - start < 20
  server.stop()
