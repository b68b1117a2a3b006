"""The server of the page, asked over HTTP as browsers and attackers do."""

import contextlib
import http.client
import json
import socket
import threading
import time
import urllib.parse

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.watching.page import access, pictures, server
from a3dcae_jax.watching.page.app import LARGEST_BODY, make_app
from a3dcae_jax.watching.page.event_list import event_key
from a3dcae_jax.watching.page.feed import Feed
from a3dcae_jax.watching.page.feedback import Feedback
from a3dcae_jax.watching.page.server import PageServer, make_page
from tests.watching.page.made import picture, record, scored, source, watch

TOKEN = 'correct-horse-battery'
CLIP = bytes(range(256)) * 40


class Served:
  """A page over a made feed with one event, and a client of it."""

  def __init__(self, out, token='', host='127.0.0.1'):
    folder = out / 'door' / 'events'
    folder.mkdir(parents=True)
    (folder / 'a.jpg').write_bytes(b'\xff\xd8still')
    (folder / 'a.mp4').write_bytes(CLIP)
    self.out = out
    self.feed = Feed(out, (0.0, 0.01))
    self.view = self.feed.begin(source(), 5.0)
    for change in ('start', 'end'):
      self.feed.events.add(record('abnormal', change, 'a'))
    self.key = event_key('door', 'a')
    self.page = PageServer(access.Address(host, 0), token)
    feedback = Feedback(out, 'a' * 64)
    self.page.start(lambda checks, cookie: make_app(self.feed, feedback, checks, cookie))
    self.port = self.page.address.port

  def ask(self, path, method='GET', body=None, host='localhost', client=None, **headers):
    """Return the status, the headers and the body of an answer."""
    source = (client, 0) if client else None
    place = self.page.address.host, self.port
    connection = http.client.HTTPConnection(*place, timeout=20, source_address=source)
    names = {name.replace('_', '-'): value for name, value in headers.items()}
    connection.request(method, path, body, {'Host': host, **names})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer.headers, content

  def raw(self, content):
    """Send bytes and return the first line that comes back."""
    with socket.create_connection((self.page.address.host, self.port), timeout=20) as connection:
      connection.sendall(content)
      return connection.makefile('rb').readline().decode()


@pytest.fixture
def served(tmp_path):
  made = Served(tmp_path)
  yield made
  made.page.close()


@pytest.fixture
def locked(tmp_path):
  made = Served(tmp_path, TOKEN)
  yield made
  made.page.close()


def test_the_page_loads_nothing_from_elsewhere(served):
  for path in ('/', '/login', '/page.js', '/page.css', '/icon.svg'):
    status, headers, body = served.ask(path)
    assert status == 200
    outside = body.replace(b'http://www.w3.org/2000/svg', b'')
    assert b'http:' not in outside and b'https:' not in outside and b'style=' not in outside
    policy = headers['Content-Security-Policy']
    assert policy.startswith("default-src 'none'") and 'unsafe' not in policy
    assert headers['X-Content-Type-Options'] == 'nosniff'


def test_state_timeline_and_events_are_json(served):
  served.view.add(scored(0, 6.5), picture(0), time.time())
  state = json.loads(served.ask('/api/state')[2])
  assert state['sources'][0]['name'] == 'door'
  assert state['sources'][0]['score'] == 6.5
  timeline = json.loads(served.ask('/api/timeline')[2])
  assert timeline['sources'][0]['scores'][0][1] == 6.5
  found = json.loads(served.ask('/api/events?source=door&kind=abnormal')[2])
  assert found['total'] == 1
  assert found['events'][0]['has_still'] and found['events'][0]['has_clip']
  assert json.loads(served.ask('/api/events?source=yard')[2])['total'] == 0
  assert served.ask('/pictures/0?marks=1')[2][:2] == b'\xff\xd8'
  assert served.ask(f'/stills/{served.key}')[2] == b'\xff\xd8still'


def test_events_come_in_pages(served):
  for index in range(45):
    served.feed.events.add(record('abnormal', 'end', f'e{index}', at_s=index))
  found = json.loads(served.ask('/api/events?first=40')[2])
  assert (found['total'], len(found['events'])) == (46, 6)
  assert json.loads(served.ask('/api/events?first=-3')[2])['first'] == 0
  assert json.loads(served.ask('/api/events?first=' + '9' * 15)[2])['events'] == []


def test_a_clip_is_given_in_ranges(served):
  path = f'/clips/{served.key}'
  status, headers, body = served.ask(path)
  assert (status, body, headers['Accept-Ranges']) == (200, CLIP, 'bytes')
  status, headers, body = served.ask(path, Range='bytes=100-199')
  assert (status, body) == (206, CLIP[100:200])
  assert headers['Content-Range'] == f'bytes 100-199/{len(CLIP)}'
  assert served.ask(path, Range='bytes=-10')[2] == CLIP[-10:]
  assert served.ask(path, Range=f'bytes={len(CLIP)}-')[0] == 416


@pytest.mark.parametrize(
  'path',
  [
    '/stills/..%2f..%2fdetect.json',
    '/clips/../../../etc/passwd',
    '/stills/%00',
    '/stills/',
    '//etc/passwd',
    '/page.css/../../server.py',
    '/pictures/-1',
    '/pictures/99999999999999999999',
    f'/pictures/{"9" * 5000}',
    '/api/events/unknown',
  ],
)
def test_what_is_not_known_is_not_found(served, path):
  assert served.ask(path)[0] == 404


def test_feedback_is_kept_in_the_file(served):
  path = f'/api/events/{served.key}/feedback'
  status, _, body = served.ask(path, 'POST', '{"normal": true}')
  assert status == 200 and json.loads(body)['is_normal']
  assert json.loads((served.out / 'feedback.jsonl').read_text())['id'] == 'a'
  served.ask(path, 'POST', '{"normal": false}')
  assert not json.loads(served.ask(f'/api/events/{served.key}')[2])['is_normal']
  for body in ('', '[]', '{"normal": 1}', '{', '[' * 3000):
    assert served.ask(path, 'POST', body)[0] == 400, body
  assert served.ask(path, 'POST', 'x' * (LARGEST_BODY + 1))[0] == 413
  assert served.ask('/api/events/unknown/feedback', 'POST', '{"normal": true}')[0] == 404
  assert served.ask(path)[0] == 405
  served.feed.events.add(record('abnormal', 'start', 'now'))
  path = f'/api/events/{event_key("door", "now")}/feedback'
  assert served.ask(path, 'POST', '{"normal": true}')[0] == 409


def test_feedback_that_cannot_be_written_is_refused(served):
  (served.out / 'feedback.jsonl').mkdir()
  path = f'/api/events/{served.key}/feedback'
  status, _, body = served.ask(path, 'POST', '{"normal": true}')
  assert status == 507
  assert 'feedback.jsonl' in json.loads(body)['error']


def test_other_sites_reach_nothing(served):
  assert served.ask('/', host='evil.example')[0] == 421
  path = f'/api/events/{served.key}/feedback'
  status, _, _ = served.ask(path, 'POST', '{"normal": true}', Origin='http://evil.example')
  assert status == 403
  assert served.ask(path, 'POST', '{"normal": true}', Origin='http://[')[0] == 403
  assert not (served.out / 'feedback.jsonl').exists()
  assert served.ask('/api/state')[1]['Cross-Origin-Resource-Policy'] == 'same-origin'


def test_without_a_session_a_page_with_a_token_tells_nothing(locked):
  assert locked.ask('/')[0] == 303
  closed = [
    '/api/state',
    '/api/timeline',
    '/api/events',
    '/metrics',
    '/page.js',
    '/pictures/0',
    f'/stills/{locked.key}',
    f'/clips/{locked.key}',
    '/nothing',
  ]
  for path in closed:
    assert locked.ask(path)[0] == 401, path
    assert locked.ask(f'{path}?token={TOKEN}')[0] == 401, path
  assert locked.ask(f'/api/events/{locked.key}/feedback', 'POST', '{"normal": true}')[0] == 401
  for path in ('/login', '/page.css', '/healthz', '/readyz'):
    status, _, body = locked.ask(path)
    assert status in (200, 503)
    assert b'door' not in body
  assert locked.ask('/metrics', Authorization=f'Bearer {TOKEN}')[0] == 200


def test_signing_in_gives_a_cookie_without_the_token(locked):
  status, headers, body = locked.ask('/login', 'POST', 'token=wrong')
  assert status == 403 and b'is wrong' in body and headers['Set-Cookie'] is None
  assert locked.ask('/login', 'POST', 'a=1&b=2&c=3&d=4&e=5')[0] == 403
  form = urllib.parse.urlencode({'token': TOKEN})
  status, headers, _ = locked.ask('/login', 'POST', form, Origin=f'http://x:{locked.port}')
  assert status == 403  # from another site
  status, headers, _ = locked.ask('/login', 'POST', form)
  assert (status, headers['Location']) == (303, '/')
  cookie = headers['Set-Cookie']
  assert 'HttpOnly' in cookie and 'SameSite=strict' in cookie and TOKEN not in cookie
  assert 'Secure' not in cookie
  session = cookie.partition(';')[0]
  assert locked.ask('/api/state', Cookie=session)[0] == 200
  assert locked.ask('/api/state', host='cameras.example', Cookie=session)[0] == 200
  locked.ask('/logout', 'POST', Cookie=session)
  assert locked.ask('/api/state', Cookie=session)[0] == 401


def test_a_reverse_proxy_passes_host_and_scheme_on(locked):
  form = urllib.parse.urlencode({'token': TOKEN})
  names = {'Origin': 'https://cameras.example', 'X_Forwarded_Proto': 'https'}
  status, headers, _ = locked.ask('/login', 'POST', form, host='cameras.example', **names)
  assert status == 303
  assert 'Secure' in headers['Set-Cookie']
  session = headers['Set-Cookie'].partition(';')[0]
  path = f'/api/events/{locked.key}/feedback'
  names['Cookie'] = session
  body = '{"normal": true}'
  assert locked.ask(path, 'POST', body, host='cameras.example', **names)[0] == 200
  assert locked.ask(path, 'POST', body, host='127.0.0.1:8080', **names)[0] == 403


def test_wrong_tokens_are_limited(locked):
  for _ in range(access.TRIES_OF_ONE):
    locked.ask('/login', 'POST', 'token=wrong')
  status, headers, _ = locked.ask('/login', 'POST', f'token={TOKEN}')
  assert status == 429 and int(headers['Retry-After']) > 0
  assert locked.ask('/metrics', Authorization=f'Bearer {TOKEN}')[0] == 429
  assert locked.ask('/login', 'POST', 'x' * (LARGEST_BODY + 1))[0] == 413


def test_the_health_is_told_and_prometheus_reads_it(served):
  assert served.ask('/healthz')[0] == 200
  status, _, body = served.ask('/readyz')
  assert (status, body) == (503, b'1 of 1 sources have no score yet\n')
  served.view.add(scored(0, 1.5), None, time.time())
  served.view.measure(watch(served.view, captured=30, scored=25, dropped=2, events=1))
  served.view.follow(record('lost', 'start', 'f'))
  assert served.ask('/readyz')[0] == 200
  text = served.ask('/metrics')[2].decode()
  for line in (
    'a3dcae_frames_captured_total{source="door"} 30.0',
    'a3dcae_frames_scored_total{source="door"} 25.0',
    'a3dcae_frames_dropped_total{source="door"} 2.0',
    'a3dcae_events_total{source="door"} 1.0',
    'a3dcae_faults_total{kind="lost",source="door"} 1.0',
    'a3dcae_threshold{source="door"} 5.0',
    'a3dcae_score{source="door"} 1.5',
    'a3dcae_source_up{source="door"} 1.0',
  ):
    assert line in text.splitlines(), line


def test_large_and_damaged_requests_are_refused(served):
  line = b'GET / HTTP/1.1\r\nHost: localhost\r\n'
  for size in (access.LARGEST_HEAD, 20 * access.LARGEST_HEAD):  # whole, and in pieces
    answer = served.raw(line + b'X: ' + b'a' * size + b'\r\n\r\n')
    assert ' 431 ' in answer or ' 400 ' in answer
  assert ' 431 ' in served.raw(b'GET /' + b'a' * access.LARGEST_HEAD + line[5:] + b'\r\n')
  assert ' 400 ' in served.raw(line + b'Host: other\r\n\r\n')
  assert ' 400 ' in served.raw(b'\x16\x03\x01\x02\x00\r\n\r\n')
  assert ' 421 ' in served.raw(b'GET / HTTP/1.0\r\n\r\n')
  assert ' 405 ' in served.raw(b'DELETE / HTTP/1.1\r\nHost: localhost\r\n\r\n')
  assert served.ask('/healthz')[0] == 200


def test_clients_that_do_not_ask_are_closed_and_their_number_is_bounded(tmp_path, monkeypatch):
  monkeypatch.setattr(server, 'REQUEST_S', 1.0)
  monkeypatch.setattr(server, 'CONNECTIONS', 4)
  served = Served(tmp_path)
  place = '127.0.0.1', served.port
  idle = [socket.create_connection(place, timeout=10) for _ in range(4)]
  idle[0].sendall(b'GET / HT')
  time.sleep(0.2)
  with socket.create_connection(place, timeout=10) as further:
    assert _is_closed(further)
  for connection in idle:
    assert _is_closed(connection)
    connection.close()
  assert served.ask('/healthz')[0] == 200
  served.page.close()


def test_one_address_cannot_take_all_connections(tmp_path, monkeypatch):
  monkeypatch.setattr(server, 'CONNECTIONS_OF_ONE', 2)
  served = Served(tmp_path)
  place = '127.0.0.1', served.port
  idle = [socket.create_connection(place, timeout=10) for _ in range(2)]
  time.sleep(0.2)
  with socket.create_connection(place, timeout=10) as further:
    assert _is_closed(further)
  assert served.ask('/healthz', client='127.0.0.2')[0] == 200
  for connection in idle:
    connection.close()
  served.page.close()


def test_a_client_that_does_not_read_or_goes_is_left_without_a_word(tmp_path, monkeypatch, capfd):
  monkeypatch.setattr(server, 'ANSWER_S', 1.0)
  served = Served(tmp_path)
  (tmp_path / 'door' / 'events' / 'a.mp4').write_bytes(bytes(40_000_000))
  place = '127.0.0.1', served.port
  slow = socket.create_connection(place, timeout=20)
  slow.sendall(f'GET /clips/{served.key} HTTP/1.1\r\nHost: localhost\r\n\r\n'.encode())
  gone = socket.create_connection(place, timeout=20)
  gone.sendall(b'POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\ntoken')
  gone.close()
  time.sleep(1.5)
  got = 0
  with contextlib.suppress(ConnectionError):
    while part := slow.recv(1_000_000):
      got += len(part)
  slow.close()
  assert got < 40_000_000
  assert served.ask('/healthz')[0] == 200
  served.page.close()
  assert capfd.readouterr().err == ''


def _is_closed(connection):
  """Return whether the server closes a connection before the time limit."""
  try:
    return connection.recv(1) == b''
  except ConnectionError:
    return True


@pytest.mark.parametrize('limit', ['REQUESTS_PER_S', 'REQUESTS_PER_S_OF_ONE'])
def test_more_requests_than_allowed_wait_and_are_then_refused(served, monkeypatch, limit):
  monkeypatch.setattr(f'a3dcae_jax.watching.page.gate.{limit}', 2)
  monkeypatch.setattr('a3dcae_jax.watching.page.gate.LONGEST_WAIT_S', 0.6)
  statuses = []
  threads = [
    threading.Thread(target=lambda: statuses.append(served.ask('/healthz')[0])) for _ in range(8)
  ]
  for thread in threads:
    thread.start()
  for thread in threads:
    thread.join()
  assert set(statuses) == {200, 503}
  if limit == 'REQUESTS_PER_S_OF_ONE':  # others are still answered
    assert served.ask('/healthz', client='127.0.0.2')[0] == 200


def test_a_picture_is_encoded_once_for_all_clients(served, monkeypatch):
  monkeypatch.setattr(pictures, 'SHORTEST_S', 0.0)
  encoded = []
  encode = pictures.encode_jpeg

  def counted(*arguments, **options):
    encoded.append(None)
    return encode(*arguments, **options)

  monkeypatch.setattr(pictures, 'encode_jpeg', counted)
  assert served.ask('/pictures/0')[0] == 404  # none has come
  for frame in range(2):
    served.view.add(scored(frame, 1.0), picture(frame, 60 * frame), time.time())
    threads = [threading.Thread(target=served.ask, args=('/pictures/0',)) for _ in range(6)]
    for thread in threads:
      thread.start()
    for thread in threads:
      thread.join()
    served.view.add(scored(frame, 1.0), None, time.time())  # a score without a picture
    assert served.ask('/pictures/0')[0] == 200
    assert len(encoded) == frame + 1


def test_a_port_in_use_is_one_line(tmp_path):
  with socket.socket() as taken:
    taken.bind(('127.0.0.1', 0))
    taken.listen()
    port = taken.getsockname()[1]
    with pytest.raises(UserError, match=f'port {port} cannot be served: the port is in use'):
      make_page(str(port), '')
  with pytest.raises(UserError, match='goes with --serve'):
    make_page('', str(tmp_path / 'token'))
  assert make_page('', '') is None


def test_a_missing_package_is_named(monkeypatch):
  monkeypatch.setitem(__import__('sys').modules, 'uvicorn', None)
  with pytest.raises(
    UserError, match=r"uvicorn is not installed; pip install 'a3dcae_jax\[serve\]'"
  ):
    make_page('127.0.0.1:0', '')


def test_ipv6_is_served(tmp_path):
  try:
    with socket.socket(socket.AF_INET6) as probe:
      probe.bind(('::1', 0))
  except OSError:
    pytest.skip('no IPv6 on this machine')
  served = Served(tmp_path, host='::1')
  assert served.page.url == f'http://[::1]:{served.port}/'
  assert served.ask('/healthz', host=f'[::1]:{served.port}')[0] == 200
  served.page.close()
