"""Scalars for TensorBoard, written by the caller's thread.

tensorboardX's own writer thread dies when the system clock jumps, and its full queue then blocks
the run.
"""

import pathlib
import time
from collections.abc import Mapping
from typing import Any

from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.summary import scalar


class TensorBoardWriter:
  """Writes an event file into a folder.

  TensorBoard hides events of older files in the folder from `first_step` on, since a resumed run
  computes these steps again.
  """

  def __init__(self, folder: str | pathlib.Path, *, first_step: int) -> None:
    """Open a new event file; `first_step` is the first step that will be written."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    self._writer = EventsWriter(str(folder / 'events'))
    self._write(step=first_step, file_version='brain.Event:2')
    start = SessionLog(status=SessionLog.START)
    self._write(step=first_step, session_log=start)

  def add_scalars(self, values: Mapping[str, float], step: int) -> None:
    """Write values by name."""
    for name, value in values.items():
      self._write(step=step, summary=scalar(name, value))
    self._writer.flush()

  def close(self) -> None:
    """Flush and close the file."""
    self._writer.close()

  def _write(self, **fields: Any) -> None:
    wall_time = max(time.time(), 0.0)  # only for the time axis; a clock may jump before 1970
    self._writer.write_event(Event(wall_time=wall_time, **fields))
