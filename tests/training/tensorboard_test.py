"""Event files as TensorBoard's readers take them, under a clock that jumps."""

import struct
import time

import pytest
from tensorboardX.proto.event_pb2 import Event

from a3dcae_jax.training.tensorboard import TensorBoardWriter


def events(path):
  """The records of a TFRecord file: length, its checksum, bytes, their checksum."""
  content, at = path.read_bytes(), 0
  while at < len(content):
    (length,) = struct.unpack_from('<Q', content, at)
    yield Event.FromString(content[at + 12 : at + 12 + length])
    at += 16 + length


def test_scalars_come_back_whatever_the_clock_says(tmp_path, monkeypatch):
  for now in (1e9, 5.0, 4e9):
    monkeypatch.setattr(time, 'time', lambda now=now: now)
    board = TensorBoardWriter(tmp_path / str(now), first_step=8)
    for step in range(8, 30):
      board.add_scalars({'adv': 1.5, 'rec': 0.25 * step}, step)
    board.close()
    (path,) = (tmp_path / str(now)).iterdir()
    found = list(events(path))
    assert [event.session_log.status for event in found if event.HasField('session_log')] == [
      1
    ] and found[2].step == 8
    scalars = [
      (event.step, value.tag, value.simple_value)
      for event in found
      for value in event.summary.value
    ]
    assert scalars == [
      row
      for step in range(8, 30)
      for row in ((step, 'adv', 1.5), (step, 'rec', pytest.approx(0.25 * step)))
    ]
