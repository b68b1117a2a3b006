"""Event files can be read back, also after a jump of the system clock."""

import struct
import time

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from a3dcae_jax.training.tensorboard import TensorBoardWriter

FIRST_STEP = 8
LAST_STEP = 29


def read_events(path):
  """Return the events of a TFRecord file."""
  content = path.read_bytes()
  events = []
  at = 0
  while at < len(content):
    (length,) = struct.unpack_from('<Q', content, at)
    events.append(Event.FromString(content[at + 12 : at + 12 + length]))
    at += 16 + length
  return events


def scalars_of(events):
  scalars = []
  for event in events:
    for value in event.summary.value:
      scalars.append((event.step, value.tag, value.simple_value))
  return scalars


@pytest.mark.parametrize('now', [1e9, 5.0, -5.0, 4e9])
def test_scalars_are_read_back_at_any_time_of_the_clock(tmp_path, monkeypatch, now):
  monkeypatch.setattr(time, 'time', lambda: now)
  writer = TensorBoardWriter(tmp_path, first_step=FIRST_STEP)
  expected = []
  for step in range(FIRST_STEP, LAST_STEP + 1):
    writer.add_scalars({'adv': 1.5, 'rec': 0.25 * step}, step)
    expected += [(step, 'adv', 1.5), (step, 'rec', pytest.approx(0.25 * step))]
  writer.close()
  (path,) = tmp_path.iterdir()
  assert scalars_of(read_events(path)) == expected


def test_a_session_starts_at_the_first_step(tmp_path):
  TensorBoardWriter(tmp_path, first_step=FIRST_STEP).close()
  (path,) = tmp_path.iterdir()
  sessions = [event for event in read_events(path) if event.HasField('session_log')]
  assert [session.step for session in sessions] == [FIRST_STEP]
  assert sessions[0].session_log.status == SessionLog.START
