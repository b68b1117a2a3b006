"""Checks before each request: rate, host, origin, session; headers of answers."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from a3dcae_jax.watching.page.access import LARGEST_HEAD, Access, TooManyTries, network_of

REQUESTS_PER_S = 80
"""Requests of all browsers together. More of them wait, so that the detector keeps its CPU time."""

REQUESTS_PER_S_OF_ONE = 40
"""Requests of one address; a browser that shows the page has 19."""

LONGEST_WAIT_S = 2.0
_ADDRESSES = 256  # whose requests are remembered
OPEN_PATHS = ('/healthz', '/readyz', '/login', '/page.css', '/icon.svg')
"""Paths that need no session; they tell nothing about the sources."""

HEADERS = {
  'Content-Security-Policy': (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; media-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
  ),
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
}


class Gate:
  """Checks each request before the application answers it.

  Args:
    app: the application.
    access: decides who may see what.
    cookie: name of the cookie that holds the session.
  """

  def __init__(self, app: Callable, access: Access, cookie: str) -> None:
    self._app = app
    self._access = access
    self._cookie = cookie
    self._next_s = 0.0
    self._next_s_of: OrderedDict[str, float] = OrderedDict()  # address of a client -> its next turn

  async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
    """Answer a request."""
    if scope['type'] != 'http':
      return

    async def send_with_headers(message: dict[str, Any]) -> None:
      if message['type'] == 'http.response.start':
        headers = MutableHeaders(scope=message)
        for name, value in HEADERS.items():
          headers[name] = value
        headers.setdefault('Cache-Control', 'no-store')
      await send(message)

    request = Request(scope)
    answer = (
      await self._wait_for_turn(network_of(client_of(request)))
      or self._refusal(request)
      or self._app
    )
    await answer(scope, receive, send_with_headers)

  async def _wait_for_turn(self, client: str) -> Response | None:
    """Wait until a client may ask; return a refusal if that takes too long.

    The refusal comes late, too, so that nobody asks all the more often.
    """
    now_s = time.monotonic()
    turn_s = max(now_s, self._next_s, self._next_s_of.get(client, 0.0))
    if turn_s - now_s > LONGEST_WAIT_S:
      await asyncio.sleep(LONGEST_WAIT_S)
      return PlainTextResponse('too many requests\n', 503, {'Retry-After': '2'})
    self._next_s = max(now_s, self._next_s) + 1 / REQUESTS_PER_S
    self._next_s_of[client] = turn_s + 1 / REQUESTS_PER_S_OF_ONE
    self._next_s_of.move_to_end(client)
    if len(self._next_s_of) > _ADDRESSES:
      self._next_s_of.popitem(last=False)
    if turn_s > now_s:
      await asyncio.sleep(turn_s - now_s)
    return None

  def _refusal(self, request: Request) -> Response | None:
    """Return the answer to a request that is refused; None if it is not."""
    if _head_bytes(request) > LARGEST_HEAD:  # uvicorn only bounds those that come in pieces
      return PlainTextResponse('the headers are too large\n', 431)
    host = request.headers.get('host', '')
    if not self._access.host_is_right(host):
      return PlainTextResponse('this host name is not served: use 127.0.0.1\n', 421)
    is_post = request.method not in ('GET', 'HEAD')
    if is_post and not self._access.origin_is_right(request.headers.get('origin'), host):
      return PlainTextResponse('the request comes from another site\n', 403)
    path = request.scope['path']
    try:
      if path in OPEN_PATHS or self._is_signed_in(request):
        return None
    except TooManyTries as error:
      return too_many(error)
    if path == '/':
      return RedirectResponse('/login', 303)
    return JSONResponse({'error': 'no session: sign in'}, 401, {'WWW-Authenticate': 'Bearer'})

  def _is_signed_in(self, request):
    return self._access.is_signed_in(
      request.cookies.get(self._cookie, ''),
      request.headers.get('authorization', ''),
      client_of(request),
    )


def _head_bytes(request):
  sizes = [len(name) + len(value) for name, value in request.headers.raw]
  return sum(sizes) + len(request.scope.get('raw_path', b'')) + len(request.scope['query_string'])


def client_of(request: Request) -> str:
  """Return the address of the client."""
  return request.client.host if request.client else ''


def too_many(error: TooManyTries) -> Response:
  """Return the answer to a client that has tried too many tokens."""
  wait_s = str(int(error.wait_s) + 1)
  return PlainTextResponse(
    f'too many wrong tokens: try again in {wait_s} s\n', 429, {'Retry-After': wait_s}
  )
