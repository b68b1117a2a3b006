"""The server of the page, in a thread of its own."""

import asyncio
import contextlib
import errno
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.watching.page.access import (
  LARGEST_HEAD,
  Access,
  Address,
  check_protected,
  parse_address,
  read_token,
)

CONNECTIONS = 256
"""Open connections at most; further ones are closed at once, so that files can still be opened."""

CONNECTIONS_OF_ONE = 64
"""Open connections of one address at most; a browser has 6."""

REQUEST_S = 10.0
"""Seconds within which a client has to send its next request in whole."""

ANSWER_S = 60.0
"""Seconds after which an answer is broken off, as where a client does not read it."""

_END_S = 3.0


class PageServer:
  """Serves the page from `start` until `close`.

  Attributes:
    address: where; with the port that was found, if any would do.
    url: the same as an address for a browser.
  """

  def __init__(self, address: Address, token: str) -> None:
    """Take the port. Connections wait until `start`.

    Args:
      address: where to serve.
      token: the token; '' without one.

    Raises:
      UserError: if the port is in use, others could see the page without a token, or a package is
        missing.
    """
    check_protected(address, token)
    if missing := missing_package():
      raise UserError(f"--serve: {missing} is not installed; pip install 'a3dcae_jax[serve]'")
    self._access = Access(token)
    self._socket = _listen(address)
    self.address = Address(address.host, self._socket.getsockname()[1])
    host = f'[{address.host}]' if ':' in address.host else address.host
    self.url = f'http://{host}:{self.address.port}/'
    self._server: Any = None
    self._thread: threading.Thread | None = None

  def start(self, make_app: Callable[[Access, str], Any]) -> None:
    """Answer requests from now on.

    Args:
      make_app: makes the application of the checks of access and the name of its cookie. The name
        has the port, since browsers send cookies to all ports of a host.
    """
    import uvicorn

    app = make_app(self._access, f'a3dcae_{self.address.port}')
    config = uvicorn.Config(
      app,
      http=_protocol(),
      ws='none',
      lifespan='off',
      loop='asyncio',
      log_config=None,
      log_level='error',
      access_log=False,
      proxy_headers=False,
      server_header=False,
      timeout_keep_alive=int(REQUEST_S),
      timeout_graceful_shutdown=1,
      h11_max_incomplete_event_size=LARGEST_HEAD,
    )
    self._server = uvicorn.Server(config)
    self._thread = threading.Thread(target=self._run, daemon=True, name='page')
    self._thread.start()
    while self._thread.is_alive() and not self._server.started:
      time.sleep(0.01)
    print(f'page: {self.url}', flush=True)

  def close(self) -> None:
    """Answer no more requests and free the port."""
    if self._thread:
      self._server.should_exit = True
      self._thread.join(_END_S)
    with contextlib.suppress(OSError):
      self._socket.close()

  def _run(self) -> None:
    asyncio.run(self._server.serve(sockets=[self._socket]))


def missing_package() -> str:
  """Return a missing package that the page needs; '' if all are installed."""
  try:
    import prometheus_client  # noqa: F401
    import starlette  # noqa: F401
    import uvicorn  # noqa: F401
  except ImportError as error:
    return error.name
  return ''


def make_page(text: str, token_file: str) -> PageServer | None:
  """Return the server that `--serve` asks for; None for an empty text.

  Args:
    text: value of `--serve`.
    token_file: value of `--token_file`.

  Raises:
    UserError: see `PageServer`.
  """
  if not text:
    if token_file:
      raise UserError('--token_file goes with --serve')
    return None
  return PageServer(parse_address(text), read_token(token_file))


def _listen(address: Address) -> socket.socket:
  """Return a socket that listens."""
  family = socket.AF_INET6 if ':' in address.host else socket.AF_INET
  listening = socket.socket(family, socket.SOCK_STREAM)
  try:
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address.host, address.port))
    listening.listen(CONNECTIONS)
  except OSError as error:
    listening.close()
    reason = error.strerror
    if error.errno == errno.EADDRINUSE:
      reason = 'the port is in use by another process'
    raise UserError(
      f'--serve: {address.host} port {address.port} cannot be served: {reason}; name another one'
    ) from None
  return listening


def _protocol() -> type:
  """Return uvicorn's protocol with bounds on connections and on slow clients."""
  from uvicorn.protocols.http.h11_impl import H11Protocol

  class BoundedProtocol(H11Protocol):
    """Closes connections beyond the limits above, and those of slow clients.

    uvicorn bounds neither: it counts requests, and waits for the rest of one for ever.
    """

    def connection_made(self, transport: Any) -> None:
      super().connection_made(transport)
      self._overdue = self.loop.call_later(REQUEST_S, transport.abort)
      of_one = sum(_is_of(other, self.client) for other in self.connections)
      if len(self.connections) > CONNECTIONS or of_one > CONNECTIONS_OF_ONE:
        transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
      self._overdue.cancel()
      super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
      was_answering = self._is_answering()
      super().data_received(data)
      if self._is_answering() and not was_answering:
        self._allow(ANSWER_S)

    def on_response_complete(self) -> None:
      self._allow(REQUEST_S)
      super().on_response_complete()
      if self._is_answering():  # a request that has come already
        self._allow(ANSWER_S)

    def _allow(self, seconds: float) -> None:
      self._overdue.cancel()
      self._overdue = self.loop.call_later(seconds, self.transport.abort)

    def _is_answering(self) -> bool:
      return self.cycle is not None and not self.cycle.response_complete

  return BoundedProtocol


def _is_of(connection: Any, client: tuple[str, int] | None) -> bool:
  """Return whether a connection comes from the address of a client."""
  return bool(client and connection.client) and connection.client[0] == client[0]
