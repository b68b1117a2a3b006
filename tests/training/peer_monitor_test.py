"""Connections between the processes of a pod, here between threads of one process."""

import queue
import socket

import pytest

from a3dcae_jax.training.peer_monitor import PeerMonitor

OTHER = 3  # process id of the other process


@pytest.fixture
def lost():
  """The processes that process 0 has lost."""
  return queue.Queue()


@pytest.fixture
def first(lost):
  """Process 0."""
  monitor = PeerMonitor(on_lost=lost.put)
  yield monitor
  monitor.leave()


def connect_socket(port):
  """Connect to process 0 like another process."""
  peer = socket.create_connection(('127.0.0.1', port))
  peer.sendall(OTHER.to_bytes(4, 'big'))
  return peer


def test_process_0_detects_a_death(first, lost):
  peer = connect_socket(first.listen(1))
  peer.close()
  assert lost.get(timeout=10) == OTHER


def test_the_death_of_process_0_is_detected():
  lost = queue.Queue()
  monitor = PeerMonitor(on_lost=lost.put)
  with socket.create_server(('127.0.0.1', 0)) as server:
    monitor.connect('127.0.0.1', server.getsockname()[1], OTHER)
    accepted, _ = server.accept()
    assert accepted.recv(4, socket.MSG_WAITALL) == OTHER.to_bytes(4, 'big')
    accepted.close()
  assert lost.get(timeout=10) == 0
  monitor.leave()


def test_a_process_that_says_farewell_is_not_reported_as_lost(first, lost):
  """Of two processes, one leaves and one dies; only the second is reported."""
  port = first.listen(2)
  lost_by_other = queue.Queue()
  other = PeerMonitor(on_lost=lost_by_other.put)
  other.connect('127.0.0.1', port, 1)
  other.leave()
  connect_socket(port).close()
  assert lost.get(timeout=10) == OTHER
  with pytest.raises(queue.Empty):
    lost.get(timeout=0.3)
  assert lost_by_other.empty()


def test_a_process_that_has_left_reports_no_losses(first, lost):
  peer = connect_socket(first.listen(1))
  first.leave()
  peer.close()
  with pytest.raises(queue.Empty):
    lost.get(timeout=0.3)


def test_a_process_that_cannot_connect_prints_a_note(capsys):
  with socket.create_server(('127.0.0.1', 0)) as server:
    port = server.getsockname()[1]
  PeerMonitor().connect('127.0.0.1', port, 2)
  assert 'process 2 cannot watch process 0' in capsys.readouterr().out
