"""Messages arrive, are tried again, and never hold the detector up."""

import base64
import http.server
import json
import socketserver
import sys
import threading
import time

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.watching import notify
from a3dcae_jax.watching.notify import (
  Command,
  Message,
  Mqtt,
  Notifier,
  Webhook,
  make_notifiers,
)

RECORD = {'type': 'start', 'kind': 'abnormal', 'id': 'a-1', 'source': 'a', 'message': 'x'}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
  monkeypatch.setattr(notify, 'FIRST_WAIT_S', 0.02)


class Receiver:
  """An HTTP server that refuses the first requests."""

  def __init__(self, refused=0):
    self.bodies = []
    self.headers = []
    self.refused = refused
    owner = self

    class Handler(http.server.BaseHTTPRequestHandler):
      def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        owner.headers.append(self.headers)
        if owner.refused:
          owner.refused -= 1
          self.send_response(503)
        else:
          owner.bodies.append(json.loads(body))
          self.send_response(200)
        self.end_headers()

      def log_message(self, *_):
        pass

    self._server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    self.port = self._server.server_address[1]
    threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

  def stop(self):
    self._server.shutdown()
    self._server.server_close()


def test_a_webhook_gets_the_record_and_the_still_after_failures(capsys):
  receiver = Receiver(refused=2)
  notifier = Notifier(Webhook(f'http://me:hidden@127.0.0.1:{receiver.port}/hook?key=hidden'))
  notifier.add(Message(RECORD, b'\xff\xd8picture'))
  notifier.add(Message(RECORD | {'type': 'end'}, b''))
  end = time.monotonic() + 10
  while notifier.sent < 2:
    assert time.monotonic() < end
    time.sleep(0.01)
  notifier.close()
  receiver.stop()
  first, second = receiver.bodies
  assert base64.b64decode(first.pop('still_jpeg')) == b'\xff\xd8picture'
  assert first == RECORD
  assert second['type'] == 'end'
  assert receiver.headers[0]['Authorization'].startswith('Basic ')
  error = capsys.readouterr().err
  assert error.count('does not take the start of a-1 (HTTP status 503): it is tried again') == 1
  assert 'hidden' not in error


@pytest.mark.parametrize(
  'address', ['hello', 'ftp://h/x', 'http://me:secret@[h/x', 'http://me:secret@h:99999/x']
)
def test_wrong_addresses_are_one_line_without_a_password(address):
  for flag in ('webhook', 'mqtt'):
    places = {'webhook': '', 'command': '', 'mqtt': ''} | {flag: address}
    with pytest.raises(UserError, match=f'--{flag}=.* must be') as caught:
      make_notifiers(**places)
    assert 'secret' not in str(caught.value)


def test_a_place_that_never_answers_is_given_up_and_does_not_block(monkeypatch, capsys):
  monkeypatch.setattr(notify, 'TRIES', 2)
  notifier = Notifier(Webhook('http://127.0.0.1:9/'))
  start = time.monotonic()
  for _ in range(notify._QUEUE + 50):
    notifier.add(Message(RECORD, b''))
  assert time.monotonic() - start < 1
  notifier.close()
  assert notifier.sent == 0
  assert notifier.lost > 50
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 2  # at the first failure and at the end
  assert 'does not take the start of a-1 (Connection refused)' in lines[0]
  assert lines[1] == f'--webhook=http://127.0.0.1:9/: {notifier.lost} messages were given up so far'


def test_lost_messages_are_told_once_a_minute_with_id_and_count(monkeypatch, capsys):
  monkeypatch.setattr(notify, 'TRIES', 1)
  now_s = 1000.0
  monkeypatch.setattr(notify.time, 'monotonic', lambda: now_s)
  notifier = Notifier(Webhook('http://127.0.0.1:9/'))
  for index in range(90):
    now_s += 1
    notifier._send(Message(RECORD | {'id': f'a-{index}'}, b''))
  notifier.close()
  lines = capsys.readouterr().err.splitlines()
  assert len(lines) == 3
  assert 'the start of a-0 (' in lines[0] and lines[0].endswith('1 message was given up so far')
  assert 'the start of a-60 (' in lines[1] and lines[1].endswith('61 messages were given up so far')
  assert lines[2].endswith(': 90 messages were given up so far')


def test_a_program_gets_the_record_on_its_standard_input(tmp_path):
  program = tmp_path / 'program.py'
  program.write_text('import sys\nopen(sys.argv[1], "a").write(sys.stdin.read())\n')
  Command(f'{sys.executable} {program} {tmp_path}/got').send(Message(RECORD, b''))
  assert json.loads((tmp_path / 'got').read_text()) == RECORD
  with pytest.raises(OSError, match='exit status 3'):
    Command(f"{sys.executable} -c 'raise SystemExit(3)'").send(Message(RECORD, b''))


def test_wrong_places_are_refused():
  with pytest.raises(UserError, match='must be an http or https address') as caught:
    Webhook('ftp://me:hidden@h/')
  assert 'hidden' not in str(caught.value)
  with pytest.raises(UserError, match='--exec'):
    Command('"open')
  with pytest.raises(UserError, match='there is no program /no/such'):
    Command('/no/such --flag')
  with pytest.raises(UserError, match='must be mqtt://'):
    Mqtt('http://h')


class Broker(socketserver.ThreadingTCPServer):
  """As much of an MQTT 3.1.1 broker as one publisher needs."""

  allow_reuse_address = True
  daemon_threads = True

  def __init__(self):
    self.published = []
    super().__init__(('127.0.0.1', 0), _BrokerHandler)
    threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()


class _BrokerHandler(socketserver.StreamRequestHandler):
  def handle(self):
    while head := self.rfile.read(1):
      length, shift = 0, 0
      while True:
        (digit,) = self.rfile.read(1)
        length |= (digit & 127) << shift
        shift += 7
        if digit < 128:
          break
      body = self.rfile.read(length)
      if head[0] >> 4 == 1:
        self.wfile.write(b'\x20\x02\x00\x00')
      elif head[0] >> 4 == 3:
        size = int.from_bytes(body[:2], 'big')
        topic, rest = body[2 : 2 + size].decode(), body[2 + size :]
        self.server.published.append((topic, rest[2:], bool(head[0] & 1)))
        self.wfile.write(b'\x40\x02' + rest[:2])
      elif head[0] >> 4 == 12:
        self.wfile.write(b'\xd0\x00')


def test_mqtt_publishes_state_record_and_still():
  pytest.importorskip('paho.mqtt.client')
  broker = Broker()
  notifier = Notifier(Mqtt(f'mqtt://127.0.0.1:{broker.server_address[1]}/watch'))
  notifier.add(Message(RECORD, b'\xff\xd8'))
  notifier.add(Message(RECORD | {'type': 'end'}, b''))
  notifier.close()
  broker.shutdown()
  broker.server_close()
  topics = [topic for topic, _, _ in broker.published]
  assert topics == [
    'watch/available',
    'homeassistant/binary_sensor/watch_a/config',
    'watch/a/state',
    'watch/a/events',
    'watch/a/still',
    'watch/a/state',
    'watch/a/events',
    'watch/available',
  ]
  by_topic = {}
  for topic, payload, _ in broker.published:
    by_topic.setdefault(topic, []).append(payload)
  assert by_topic['watch/a/state'] == [b'ON', b'OFF']
  assert by_topic['watch/available'] == [b'online', b'offline']
  assert json.loads(by_topic['watch/a/events'][0]) == RECORD
  config = json.loads(by_topic['homeassistant/binary_sensor/watch_a/config'][0])
  assert config['state_topic'] == 'watch/a/state'
