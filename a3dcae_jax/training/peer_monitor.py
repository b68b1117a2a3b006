"""Detect at once when another process of the pod dies.

A collective whose partner has died may wait for ever, and JAX's heartbeat is slow. So every process
holds a TCP connection to process 0 and sends one byte on it before it leaves. If a connection
closes without that byte, the process at the other end is dead. Then this process ends too, which
closes its own connections.

A host that stops without closing its connections is detected by the heartbeat.
"""

import contextlib
import os
import socket
import sys
import threading
from collections.abc import Callable
from typing import Any, NoReturn

EXIT_PEER_LOST = 76
_FAREWELL = b'.'
_CONNECT_TIMEOUT_S = 30


class PeerMonitor:
  """The connections of one process to the others."""

  def __init__(self, on_lost: Callable[[int], Any] | None = None) -> None:
    """Call `on_lost(process)` in its own thread when a process is lost.

    By default that prints an error and ends this process.
    """
    self._on_lost = on_lost or _end
    self._peers: list[socket.socket] = []
    self._listener: socket.socket | None = None
    self._leaving = False

  def listen(self, num_peers: int) -> int:
    """Accept the connections of the other processes, in the background; for process 0.

    Returns:
      The port.
    """
    self._listener = socket.create_server(('', 0))
    _start(self._accept, num_peers)
    return self._listener.getsockname()[1]

  def connect(self, host: str, port: int, process_id: int) -> None:
    """Connect to process 0; for the others.

    If a firewall forbids it, this prints a note, and only the heartbeat remains.
    """
    try:
      peer = socket.create_connection((host, port), timeout=_CONNECT_TIMEOUT_S)
      peer.settimeout(None)
      peer.sendall(process_id.to_bytes(4, 'big'))
    except OSError as error:
      print(
        f'process {process_id} cannot watch process 0 ({error}): '
        'only its heartbeat shows that a process is lost',
        flush=True,
      )
      return
    self._peers.append(peer)
    _start(self._watch, peer, 0)

  def leave(self) -> None:
    """Send the farewell; from now on lost processes are not reported."""
    self._leaving = True
    for peer in self._peers:
      with contextlib.suppress(OSError):
        peer.sendall(_FAREWELL)
        peer.close()
    if self._listener:
      # Closing alone leaves the port open while a thread waits in accept.
      with contextlib.suppress(OSError):
        self._listener.shutdown(socket.SHUT_RDWR)
      self._listener.close()

  def _accept(self, count: int) -> None:
    for _ in range(count):
      try:
        peer, _ = self._listener.accept()
        process_id = int.from_bytes(peer.recv(4, socket.MSG_WAITALL), 'big')
      except OSError:
        return
      self._peers.append(peer)
      _start(self._watch, peer, process_id)

  def _watch(self, peer: socket.socket, process_id: int) -> None:
    try:
      received = peer.recv(1)
    except OSError:
      received = b''
    if received != _FAREWELL and not self._leaving:
      self._on_lost(process_id)


def _start(target: Callable[..., None], *arguments: Any) -> None:
  threading.Thread(target=target, args=arguments, daemon=True).start()


def _end(process: int) -> NoReturn:
  print(
    f'error: lost process {process} of the pod: its connection closed; everything up to the last '
    'checkpoint is saved: run the same command again',
    file=sys.stderr,
    flush=True,
  )
  os._exit(EXIT_PEER_LOST)
