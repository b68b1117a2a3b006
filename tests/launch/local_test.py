"""The launcher's exit status: whose end was the cause."""

import importlib.util
import pathlib
import threading

import pytest

from a3dcae_jax.training.peer_monitor import EXIT_PEER_LOST

_PATH = pathlib.Path(__file__).parents[2] / 'launch' / 'local.py'


@pytest.fixture(scope='module')
def local():
  spec = importlib.util.spec_from_file_location('local', _PATH)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module


class Ended:
  """A process that has ended; `late` looks find it still running."""

  def __init__(self, returncode, late=0):
    self._returncode, self._late, self.returncode, self.relay = (
      returncode,
      late,
      None,
      threading.Thread(target=lambda: None),
    )
    self.relay.start()

  def poll(self):
    if self._late:
      self._late -= 1
      return None
    self.returncode = self._returncode
    return self.returncode

  def kill(self):
    self._returncode, self._late = -9, 0


@pytest.mark.parametrize(
  'processes, expected',
  [
    ([(0, 0), (0, 0)], 0),
    (
      [(EXIT_PEER_LOST, 0), (-9, 0)],
      137,
    ),  # both ended between two looks: the first was lost to the second
    ([(EXIT_PEER_LOST, 0), (-9, 3)], 137),
    ([(75, 0), (75, 2)], 75),
    ([(2, 0), (EXIT_PEER_LOST, 2)], 2),
    ([(EXIT_PEER_LOST, 0), (EXIT_PEER_LOST, 1)], EXIT_PEER_LOST),
  ],
)
def test_the_status_is_that_of_the_cause(local, processes, expected):
  assert local.PEER_LOST == EXIT_PEER_LOST
  assert local.wait([Ended(*process) for process in processes], grace_s=60) == expected


def test_a_process_killed_for_not_ending_is_not_the_cause(local, capsys):
  assert local.wait([Ended(EXIT_PEER_LOST), Ended(0, late=10**6)], grace_s=0.1) == EXIT_PEER_LOST
  assert 'process 1 did not end by itself: killed' in capsys.readouterr().out
