"""Files that grow line by line, and lines that are printed, whatever a disk or a reader does."""

import os
import sys
import threading

import pytest

from a3dcae_jax.watching.output import LineFile, Printed, event_prefix
from a3dcae_jax.watching.recorder import ClipWriter


@pytest.mark.parametrize(
  'before, after', [('f\n1\n23', 'f\n1\n'), ('f', ''), (f'f\n{"x" * 99999}', 'f\n')]
)
def test_an_unfinished_line_of_a_killed_process_is_removed(tmp_path, before, after):
  path = tmp_path / 'scores.csv'
  path.write_text(before)
  file = LineFile(path)
  assert path.read_text() == after
  file.add('2')
  file.close()
  assert path.read_text() == f'{after}2\n'


def test_names_of_events_fit_into_names_of_files():
  assert event_prefix('day/door') == 'day-door-'
  long = [event_prefix(f'{"tür/" * 99}{name}') for name in 'ab']
  assert long[0] != long[1]
  assert max(len(name.encode()) for name in long) < 200


@pytest.mark.skipif(not os.path.exists('/dev/full'), reason='it stands for a full disk')
def test_what_cannot_be_printed_ends_nothing(monkeypatch):
  stopped = threading.Event()
  printed = Printed(stopped.set)
  with open('/dev/full', 'w') as full:
    monkeypatch.setattr(sys, 'stdout', full)
    monkeypatch.setattr(sys, 'stderr', full)
    with printed.redirected():
      print('line', flush=True)
      print('line', file=sys.stderr)
  assert not stopped.is_set()
  reading, writing = os.pipe()
  os.close(reading)
  with open(writing, 'w') as pipe:
    monkeypatch.setattr(sys, 'stdout', pipe)
    with printed.redirected():
      print('line', flush=True)
      print('line', flush=True)
  assert stopped.is_set() and printed.has_no_reader


def test_an_overlay_without_a_picture_is_no_failure(tmp_path, capsys):
  writer = ClipWriter(tmp_path / 'overlay.mp4')
  writer.end()
  writer.join()
  assert not writer.has_failed
  assert list(tmp_path.iterdir()) == []
  assert capsys.readouterr().err == ''
