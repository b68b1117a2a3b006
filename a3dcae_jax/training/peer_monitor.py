"""Notices at once when another process of the pod dies.

A collective whose partner has died may wait for ever, and JAX's heartbeat takes its time. So every process holds a TCP connection to process 0, on
which nothing is said but a farewell: where one closes without it, the process at its other end is dead, and this one ends too, which closes its own.
A host that falls silent closes nothing: that is the heartbeat's to notice.
"""

import contextlib
import os
import socket
import sys
import threading

EXIT_PEER_LOST = 76
_FAREWELL = b'.'


class PeerMonitor:
  """The connections of one process. `on_lost(process)` is called on a thread of its own; by default it says so and ends this process."""

  def __init__(self, on_lost=None):
    self._on_lost, self._peers, self._listener, self._leaving = on_lost or _end, [], None, False

  def listen(self, process_ids):
    """Process 0: waits for the others' connections in the background; returns the port."""
    self._listener = socket.create_server(('', 0))
    _start(self._accept, len(process_ids))
    return self._listener.getsockname()[1]

  def connect(self, host, port, process_id):
    """Another process: connects to process 0. Where a firewall forbids it, the heartbeat has to do."""
    try:
      peer = socket.create_connection((host, port), timeout=30)
      peer.settimeout(None)
      peer.sendall(process_id.to_bytes(4, 'big'))
    except OSError as error:
      print(
        f'process {process_id} cannot watch process 0 ({error}): a lost process is noticed by its heartbeat only',
        flush=True,
      )
      return
    self._peers.append(peer)
    _start(self._watch, peer, 0)

  def leave(self):
    """Says farewell: from now on nobody is missed."""
    self._leaving = True
    for peer in self._peers:
      try:
        peer.sendall(_FAREWELL)
        peer.close()
      except OSError:
        pass
    if self._listener:
      with contextlib.suppress(OSError):
        self._listener.shutdown(
          socket.SHUT_RDWR
        )  # closing alone leaves the port open while a thread waits in accept
      self._listener.close()

  def _accept(self, count):
    for _ in range(count):
      try:
        peer, _ = self._listener.accept()
        process_id = int.from_bytes(peer.recv(4, socket.MSG_WAITALL), 'big')
      except OSError:
        return
      self._peers.append(peer)
      _start(self._watch, peer, process_id)

  def _watch(self, peer, process_id):
    try:
      farewell = peer.recv(1)
    except OSError:
      farewell = b''
    if farewell != _FAREWELL and not self._leaving:
      self._on_lost(process_id)


def _start(target, *arguments):
  threading.Thread(target=target, args=arguments, daemon=True).start()


def _end(process):
  print(
    f'error: lost process {process} of the pod: its connection closed; everything up to the last checkpoint is saved: '
    'run the same command again',
    file=sys.stderr,
    flush=True,
  )
  os._exit(EXIT_PEER_LOST)
