"""The exit status of a local pod is that of the process that ended first."""

import threading

import pytest

from a3dcae_jax.training.peer_monitor import EXIT_PEER_LOST
from launch import local


class Ended:
  """A process that has ended, although the first `late` polls find it running."""

  def __init__(self, returncode, late=0):
    self._final = returncode
    self._late = late
    self.returncode = None

  def poll(self):
    if self._late:
      self._late -= 1
      return None
    self.returncode = self._final
    return self.returncode

  def kill(self):
    self._final = -9
    self._late = 0


def workers(*processes):
  started = []
  for process in processes:
    relay = threading.Thread(target=lambda: None)
    relay.start()
    started.append(local.Worker(process, relay))
  return started


@pytest.mark.parametrize(
  'processes, expected',
  [
    ([(0, 0), (0, 0)], 0),
    # Both ended between two polls; the first one ended because it lost the second.
    ([(EXIT_PEER_LOST, 0), (-9, 0)], 137),
    ([(EXIT_PEER_LOST, 0), (-9, 3)], 137),
    ([(75, 0), (75, 2)], 75),
    ([(2, 0), (EXIT_PEER_LOST, 2)], 2),
    ([(EXIT_PEER_LOST, 0), (EXIT_PEER_LOST, 1)], EXIT_PEER_LOST),
  ],
)
def test_the_status_is_that_of_the_cause(processes, expected):
  assert local.PEER_LOST == EXIT_PEER_LOST
  ended = [Ended(returncode, late) for returncode, late in processes]
  assert local.wait(workers(*ended), grace_s=60) == expected


def test_a_process_that_had_to_be_killed_is_not_the_cause(capsys):
  pod = workers(Ended(EXIT_PEER_LOST), Ended(0, late=10**6))
  assert local.wait(pod, grace_s=0.1) == EXIT_PEER_LOST
  assert 'process 1' in capsys.readouterr().out
