"""Scalars for TensorBoard, written by the caller: tensorboardX's own thread dies of a clock that jumps, and its full queue then holds the run."""

import pathlib
import time

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar


class TensorBoardWriter:
  """Event files in `folder`. What an earlier file has from `first_step` on is no longer shown: the run was resumed before it."""

  def __init__(self, folder, *, first_step):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    self._writer = EventsWriter(str(folder / 'events'))
    self._write(step=first_step, file_version='brain.Event:2')
    self._write(step=first_step, session_log=SessionLog(status=SessionLog.START))

  def add_scalars(self, values, step):
    """values: {name: number}."""
    for name, value in values.items():
      self._write(step=step, summary=scalar(name, value))
    self._writer.flush()

  def close(self):
    self._writer.close()

  def _write(self, **fields):
    self._writer.write_event(
      Event(wall_time=max(time.time(), 0.0), **fields)
    )  # for the axis of times alone
