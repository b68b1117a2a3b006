"""Who may see the page: its address, the token, sessions and checks of headers."""

import hashlib
import hmac
import ipaddress
import os
import pathlib
import re
import secrets
import socket
import threading
import time
import urllib.parse
from collections import OrderedDict, deque
from typing import NamedTuple

from a3dcae_jax.common.errors import UserError

TOKEN_VARIABLE = 'A3DCAE_TOKEN'
SHORTEST_TOKEN = 16
SESSION_S = 30 * 24 * 3600
"""Seconds after which a browser must give the token again."""

LARGEST_HEAD = 16_384
"""Bytes of the address and the headers of a request."""

WINDOW_S = 60.0
TRIES_OF_ONE = 10
"""Wrong tokens from one address within `WINDOW_S`; then it has to wait."""

TRIES_OF_ALL = 100
_SESSIONS = 1000  # of the newest browsers
_ADDRESSES = 4096  # whose tries are remembered
_LOOPBACK = '127.0.0.1'


class Address(NamedTuple):
  """Where the page is served.

  Attributes:
    host: an IP address.
    port: the port; 0 for any free one.
  """

  host: str
  port: int

  @property
  def is_loopback(self) -> bool:
    """Whether only this machine can reach it."""
    return ipaddress.ip_address(self.host).is_loopback


def parse_address(text: str) -> Address:
  """Return the address that `--serve` names.

  Args:
    text: PORT, HOST:PORT or [HOST]:PORT. A port alone is one of 127.0.0.1.

  Raises:
    UserError: if it is anything else, or the host is not known.
  """
  match = re.fullmatch(r'(?:(?:\[([^\]]+)\]|([^:\[\]]+)):)?(\d{1,5})', text)
  if not match or int(match[3]) > 65535:
    raise UserError(f'--serve={text} must be PORT, HOST:PORT or [HOST]:PORT, as in --serve=8080')
  host = match[1] or match[2] or _LOOPBACK
  try:
    found = socket.getaddrinfo(host, int(match[3]), type=socket.SOCK_STREAM)
  except OSError:
    raise UserError(f'--serve={text}: the host {host} is not known on this machine') from None
  return Address(found[0][4][0].partition('%')[0], int(match[3]))


def read_token(file: str) -> str:
  """Return the token from a file or the environment; '' if neither is given.

  Args:
    file: the value of `--token_file`; '' for the environment variable.

  Raises:
    UserError: if the file cannot be read or the token is too short.
  """
  name, text = f'the environment variable {TOKEN_VARIABLE}', os.environ.get(TOKEN_VARIABLE, '')
  if file:
    name = f'--token_file={file}'
    try:
      text = pathlib.Path(file).expanduser().read_text(encoding='utf-8')
    except OSError as error:
      raise UserError(f'{name} cannot be read: {error.strerror}') from None
    except ValueError:
      raise UserError(f'{name} is not text in UTF-8: write the token into it') from None
  token = text.strip()
  if (file or token) and len(token) < SHORTEST_TOKEN:
    raise UserError(
      f'{name} has a token of {len(token)} characters, but at least {SHORTEST_TOKEN} are needed: '
      "make one with `python -c 'import secrets; print(secrets.token_urlsafe())'`"
    )
  return token


def check_protected(address: Address, token: str) -> None:
  """Check that other machines can only see the page with a token.

  Raises:
    UserError: if they could see it without one.
  """
  if not token and not address.is_loopback:
    raise UserError(
      f'--serve: {address.host} can be reached from other machines, so it needs a token: give '
      f'--token_file=FILE or {TOKEN_VARIABLE}, or serve 127.0.0.1'
    )


class Tries:
  """Counts wrong tokens, so that nobody can try many.

  Counts are kept for `WINDOW_S` seconds, for a bounded number of addresses.
  """

  def __init__(self) -> None:
    """Begin without a try."""
    self._failed: OrderedDict[str, deque[float]] = OrderedDict()
    self._all: deque[float] = deque(maxlen=TRIES_OF_ALL)

  def wait_s(self, client: str) -> float:
    """Return how long an address has to wait, in seconds; 0 if it may try."""
    own = self._failed.get(network_of(client), ())
    return max(_wait_s(own, TRIES_OF_ONE), _wait_s(self._all, TRIES_OF_ALL))

  def add(self, client: str) -> None:
    """Count a wrong token."""
    key = network_of(client)
    own = self._failed.setdefault(key, deque(maxlen=TRIES_OF_ONE))
    self._failed.move_to_end(key)
    own.append(time.monotonic())
    self._all.append(time.monotonic())
    if len(self._failed) > _ADDRESSES:
      self._failed.popitem(last=False)


class Access:
  """Decides on each request.

  Attributes:
    needs_token: whether a token is needed at all.
  """

  def __init__(self, token: str = '') -> None:
    """Begin without a session.

    Args:
      token: the token; '' if the page is open to all users of this machine.
    """
    self.needs_token = bool(token)
    self._digest = _digest(token)
    self._sessions: OrderedDict[str, float] = OrderedDict()  # digest of the id -> its end
    self._tries = Tries()
    self._lock = threading.Lock()

  def host_is_right(self, host: str) -> bool:
    """Return whether the header `Host` is one that this page can have.

    A page without a token must be asked for by a name of this machine. Otherwise any web site
    could reach it by a name of its own that resolves to 127.0.0.1 (DNS rebinding). With a token,
    such a site has no session.
    """
    return self.needs_token or _is_local(_name_of(host))

  def origin_is_right(self, origin: str | None, host: str) -> bool:
    """Return whether a POST comes from the page itself.

    Args:
      origin: the header `Origin`; None if the client is no browser.
      host: the header `Host`.
    """
    if origin is None:
      return True
    try:
      place = urllib.parse.urlsplit(origin).netloc
    except ValueError:  # as for http://[
      return False
    return place.lower() == host.lower() != ''

  def sign_in(self, token: str, client: str) -> str:
    """Return the id of a new session; '' if the token is wrong.

    Args:
      token: the token that was typed.
      client: address of the client.

    Raises:
      TooManyTries: if this address, or all together, had too many wrong tokens.
    """
    with self._lock:
      if not self._is_token(token, client):
        return ''
      name = secrets.token_urlsafe(32)
      self._sessions[_digest(name)] = time.monotonic() + SESSION_S
      if len(self._sessions) > _SESSIONS:
        self._sessions.popitem(last=False)
      return name

  def sign_out(self, session: str) -> None:
    """End a session."""
    with self._lock:
      self._sessions.pop(_digest(session), None)

  def is_signed_in(self, session: str, authorization: str, client: str) -> bool:
    """Return whether a request may see everything.

    Args:
      session: value of the cookie; '' without one.
      authorization: the header `Authorization`, by which programs give the token; '' without one.
      client: address of the client.

    Raises:
      TooManyTries: as for `sign_in`.
    """
    if not self.needs_token:
      return True
    with self._lock:
      if session and self._sessions.get(_digest(session), 0.0) > time.monotonic():
        return True
      scheme, _, token = authorization.partition(' ')
      return scheme.lower() == 'bearer' and self._is_token(token.strip(), client)

  def _is_token(self, token, client):
    """Compare a token in constant time, and count it if it is wrong."""
    wait_s = self._tries.wait_s(client)
    if wait_s:
      raise TooManyTries(wait_s)
    if self.needs_token and hmac.compare_digest(_digest(token), self._digest):
      return True
    self._tries.add(client)
    return False


class TooManyTries(Exception):
  """There were too many wrong tokens.

  Attributes:
    wait_s: seconds until the next try.
  """

  def __init__(self, wait_s: float) -> None:
    super().__init__(f'too many wrong tokens: wait {wait_s:.0f} s')
    self.wait_s = wait_s


def _wait_s(times, limit):
  if len(times) < limit:
    return 0.0
  return max(0.0, times[0] + WINDOW_S - time.monotonic())


def network_of(client: str) -> str:
  """Return the address, or its network: an IPv6 client has all addresses of one."""
  try:
    address = ipaddress.ip_address(client)
  except ValueError:
    return client
  if address.version == 4:
    return client
  return str(ipaddress.ip_network(f'{client.partition("%")[0]}/64', strict=False))


def _digest(text):
  return hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()


def _is_local(name):
  """Return whether a name can only be that of this machine."""
  try:
    return name == 'localhost' or ipaddress.ip_address(name).is_loopback
  except ValueError:
    return False


def _name_of(host):
  """Return the name in a header `Host`, without the port."""
  match = re.fullmatch(r'(?:\[([0-9a-fA-F:]+)\]|([^:\[\]]+))(?::\d+)?', host)
  return (match[1] or match[2]).lower() if match else ''
