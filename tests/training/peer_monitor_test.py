"""Connections between the processes of a pod, here between threads of one."""

import queue

import pytest

from a3dcae_jax.training.peer_monitor import PeerMonitor


@pytest.fixture
def pair():
  """Process 0 and process 3, and who each of them misses."""
  missed = [queue.Queue(), queue.Queue()]
  first, other = (PeerMonitor(on_lost=q.put) for q in missed)
  port = first.listen(range(1, 2))
  other.connect('127.0.0.1', port, 3)
  yield first, other, missed
  first.leave()
  other.leave()


def close(watch):
  """What the death of its process does to a connection."""
  (peer,) = watch._peers
  peer.shutdown(2)
  peer.close()
  watch._leaving = True


def test_a_death_is_noticed_on_either_side(pair):
  first, other, missed = pair
  close(other)
  assert missed[0].get(timeout=10) == 3
  first.leave()


def test_a_dead_first_process_is_noticed(pair):
  first, _, missed = pair
  while not first._peers:
    pass
  close(first)
  assert missed[1].get(timeout=10) == 0


def test_a_farewell_is_no_death(pair):
  first, other, missed = pair
  other.leave()
  with pytest.raises(queue.Empty):
    missed[0].get(timeout=0.3)
  assert missed[1].empty()


def test_who_cannot_connect_says_so(capsys):
  other = PeerMonitor()
  listening = PeerMonitor()
  port = listening.listen(range(1))
  listening.leave()
  other.connect('127.0.0.1', port, 2)
  assert 'process 2 cannot watch process 0' in capsys.readouterr().out
