"""Messages to other systems by webhook, command or MQTT, sent by threads.

Each channel has a thread and a bounded queue. A message that fails is sent again, later each time,
and given up after some minutes. Messages that are given up are counted, and told once a minute at
most.
"""

import base64
import contextlib
import json
import math
import os
import queue
import re
import shlex
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.watching.sources import split_address, without_secrets

TRIES = 8
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 60.0
TOLD_S = 60.0
"""Seconds between two printed lines of a channel on messages that fail."""

PASSWORD_VARIABLE = 'A3DCAE_MQTT_PASSWORD'
_QUEUE = 256
_TIMEOUT_S = 10.0
_END_S = 5.0  # to send waiting messages when the detector ends
_MQTT_PORT = 1883


class Message(NamedTuple):
  """A message on an event.

  Attributes:
    record: as in `events.jsonl`.
    still: JPEG; empty without one.
  """

  record: dict[str, Any]
  still: bytes


class Channel(Protocol):
  """Sends messages to one place.

  Attributes:
    name: of the place, for messages on errors; without a password.
  """

  name: str

  def send(self, message: Message) -> None:
    """Send a message.

    Raises:
      OSError: if it may work later.
    """
    ...

  def close(self) -> None:
    """Send no more."""
    ...


class Notifier:
  """Sends all messages to one channel, in their order, in a thread of its own.

  Attributes:
    sent: number of messages that arrived.
    lost: number of messages that were given up.
  """

  def __init__(self, channel: Channel) -> None:
    """Start the thread."""
    self._channel = channel
    self._queue: queue.Queue[Message | None] = queue.Queue(_QUEUE)
    self._ending = threading.Event()
    self.sent = self.lost = 0
    self._told_s = -math.inf
    self._told_lost = 0
    self._thread = threading.Thread(target=self._run, daemon=True, name=f'notify {channel.name}')
    self._thread.start()

  def add(self, message: Message) -> None:
    """Send a message soon. If too many wait, the oldest one is given up."""
    while True:
      try:
        self._queue.put_nowait(message)
        return
      except queue.Full:
        try:
          self._queue.get_nowait()
          self.lost += 1
        except queue.Empty:
          pass

  def close(self) -> None:
    """Send the waiting messages, for a few seconds at most."""
    self._ending.set()
    with contextlib.suppress(queue.Full):
      self._queue.put(None, timeout=_END_S)
      self._thread.join(_END_S)
    if self.lost > self._told_lost:
      print(f'{self._channel.name}: {_given_up(self.lost)}', file=sys.stderr)

  def _run(self):
    while (message := self._queue.get()) is not None:
      if self._send(message):
        self.sent += 1
    self._channel.close()

  def _send(self, message):
    """Send a message, with several tries, and return whether it arrived."""
    wait_s = FIRST_WAIT_S
    for attempt in range(1, TRIES + 1):
      try:
        self._channel.send(message)
        return True
      except Exception as error:  # other systems and libraries raise errors of many types
        is_last = attempt == TRIES or self._ending.is_set()
        self.lost += is_last
        if attempt == 1 or is_last:
          self._tell(message, error, is_last)
        if is_last:
          return False
      self._ending.wait(wait_s)
      wait_s = min(2 * wait_s, LONGEST_WAIT_S)
    return False

  def _tell(self, message, error, is_last):
    """Print that a message fails, unless a line was printed within the last minute."""
    now_s = time.monotonic()
    if now_s - self._told_s < TOLD_S:
      return
    self._told_s = now_s
    self._told_lost = self.lost
    record = message.record
    what = _given_up(self.lost) if is_last else 'it is tried again'
    print(
      f'{self._channel.name} does not take the {record["type"]} of {record["id"]} '
      f'({_reason(error)}): {what}',
      file=sys.stderr,
    )


class Webhook:
  """Posts each message as JSON; the still is in it as base64.

  Args:
    address: http or https.

  Raises:
    UserError: for another address.
  """

  def __init__(self, address: str) -> None:
    parts = split_address(address)
    if not parts or parts.scheme not in ('http', 'https') or not parts.hostname:
      raise UserError(
        f'--webhook={without_secrets(address)} must be an http or https address, as in '
        'http://10.0.0.9:8000/events'
      )
    self.name = f'--webhook={without_secrets(address)}'
    place = parts.netloc.rpartition('@')[2]
    self._headers = {'Content-Type': 'application/json', 'User-Agent': 'a3dcae_jax'}
    if parts.username:
      user = urllib.parse.unquote(f'{parts.username}:{parts.password or ""}')
      self._headers['Authorization'] = f'Basic {base64.b64encode(user.encode()).decode()}'
    self._address = urllib.parse.urlunsplit(parts._replace(netloc=place))

  def send(self, message: Message) -> None:
    """Post a message."""
    still = base64.b64encode(message.still).decode()
    content = json.dumps(message.record | {'still_jpeg': still}).encode()
    request = urllib.request.Request(self._address, content, self._headers, method='POST')
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S):
      pass

  def close(self) -> None:
    """Do nothing: each message has a connection of its own."""


class Command:
  """Runs a program for each message, with the JSON on its standard input.

  Args:
    text: the program and its arguments; no shell is started.

  Raises:
    UserError: if it cannot be split into arguments, or there is no such program.
  """

  def __init__(self, text: str) -> None:
    self.name = f'--exec={text}'
    try:
      self._arguments = shlex.split(text)
    except ValueError as error:
      raise UserError(f'--exec={text}: {error}') from None
    if not self._arguments:
      raise UserError('--exec is empty: name a program')
    if not shutil.which(self._arguments[0]):
      raise UserError(
        f'--exec={text}: there is no program {self._arguments[0]} that can be run: mend the path, '
        'or make the file executable'
      )

  def send(self, message: Message) -> None:
    """Run the program."""
    content = json.dumps(message.record).encode()
    ended = subprocess.run(
      self._arguments, input=content, stdout=subprocess.DEVNULL, timeout=60, check=False
    )
    if ended.returncode:
      raise OSError(f'exit status {ended.returncode}')

  def close(self) -> None:
    """Do nothing: each message has a process of its own."""


class Mqtt:
  """Publishes messages by MQTT, in the form that home-automation systems read.

      PREFIX/available              online or offline, retained
      PREFIX/NAME/state             ON during an event, else OFF, retained
      PREFIX/NAME/events            JSON of each message
      PREFIX/NAME/still             JPEG of the last event, retained
      homeassistant/.../config      describes the state, once for each source

  Args:
    address: mqtt://USER@HOST:PORT/PREFIX; the password is in an environment variable.

  Raises:
    UserError: for another address, or if paho-mqtt is missing.
  """

  def __init__(self, address: str) -> None:
    parts = split_address(address)
    shown = without_secrets(address)
    if not parts or parts.scheme not in ('mqtt', 'mqtts') or not parts.hostname:
      raise UserError(f'--mqtt={shown} must be mqtt://USER@HOST:PORT/PREFIX')
    try:
      from paho.mqtt import client as mqtt
    except ImportError:
      raise UserError(
        f"--mqtt={shown}: paho-mqtt is not installed; pip install 'a3dcae_jax[mqtt]'"
      ) from None
    self.name = f'--mqtt={shown}'
    self._prefix = parts.path.strip('/') or 'a3dcae_jax'
    self._place = parts.hostname, parts.port or _MQTT_PORT
    self._client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
    if parts.username:
      password = os.environ.get(PASSWORD_VARIABLE, parts.password)
      self._client.username_pw_set(urllib.parse.unquote(parts.username), password)
    if parts.scheme == 'mqtts':
      self._client.tls_set()
    self._client.will_set(f'{self._prefix}/available', 'offline', qos=1, retain=True)
    self._described = set()
    self._is_connected = False

  def send(self, message: Message) -> None:
    """Publish a message."""
    if not self._is_connected:
      self._client.connect(*self._place, keepalive=30)
      self._client.loop_start()
      self._is_connected = True
      self._publish('available', 'online', retain=True)
    record = message.record
    name = record['source']
    topic = f'{name}'
    if name not in self._described:
      self._publish_description(name)
      self._described.add(name)
    if record['kind'] == 'abnormal' and record['type'] in ('start', 'end'):
      state = 'ON' if record['type'] == 'start' else 'OFF'
      self._publish(f'{topic}/state', state, retain=True)
    self._publish(f'{topic}/events', json.dumps(record))
    if message.still:
      self._publish(f'{topic}/still', message.still, retain=True)

  def close(self) -> None:
    """Publish that the detector has ended, and disconnect."""
    if self._is_connected:
      self._publish('available', 'offline', retain=True)
      self._client.disconnect()
      self._client.loop_stop()

  def _publish_description(self, name):
    key = re.sub(r'\W', '_', f'{self._prefix}_{name}')
    config = {
      'name': f'{name} abnormal',
      'unique_id': key,
      'state_topic': f'{self._prefix}/{name}/state',
      'availability_topic': f'{self._prefix}/available',
      'json_attributes_topic': f'{self._prefix}/{name}/events',
      'device_class': 'problem',
    }
    topic = f'homeassistant/binary_sensor/{key}/config'
    self._wait_for(self._client.publish(topic, json.dumps(config), qos=1, retain=True))

  def _publish(self, topic, payload, retain=False):
    self._wait_for(self._client.publish(f'{self._prefix}/{topic}', payload, qos=1, retain=retain))

  def _wait_for(self, info):
    """Wait until the broker has received a message."""
    end_s = time.monotonic() + _TIMEOUT_S
    while not info.is_published():
      if time.monotonic() > end_s:
        raise OSError('the broker does not answer')
      time.sleep(0.01)


def make_notifiers(webhook: str, command: str, mqtt: str) -> list[Notifier]:
  """Return a notifier for each channel that is named.

  Raises:
    UserError: if one cannot be used.
  """
  channels: Sequence[tuple[str, Any]] = ((webhook, Webhook), (command, Command), (mqtt, Mqtt))
  made = [channel(text) for text, channel in channels if text]
  return [Notifier(channel) for channel in made]


def _given_up(count: int) -> str:
  """Return how many messages were given up, in words."""
  return f'{count} {"message was" if count == 1 else "messages were"} given up so far'


def _reason(error: Exception) -> str:
  """Return the reason of a failure without the address: it may hold a password."""
  if isinstance(error, urllib.error.HTTPError):
    return f'HTTP status {error.code}'
  reason = getattr(error, 'reason', None) or error
  return getattr(reason, 'strerror', None) or type(reason).__name__
