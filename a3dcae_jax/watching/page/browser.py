"""A browser that shows the live page, as far as `detect` notices it."""

import http.client
import json
import threading
import time
from collections.abc import Callable

# As in page.js.
STATE_S = 0.8
TIMELINE_S = 5.0
PICTURES_AT_ONCE = 3
PICTURE_S = 0.16
"""Between two pictures of a camera."""

TURN_S = 0.06
"""Between two pictures of any cameras."""

_STRIP_S = 10  # of one value of the timeline


class Browser:
  """Asks for the page as a browser with one open window does.

  It draws nothing: browsers do that on another machine.

  Attributes:
    pictures: number of pictures that have come.
  """

  def __init__(self, port: int) -> None:
    """Begin to ask.

    Args:
      port: of the page on this machine.
    """
    self.pictures = 0
    self._port = port
    self._lock = threading.Lock()
    self._first_s = 0.0  # when the first picture came
    self._numbers: list[int] = []  # of the cameras that have a picture
    self._asked_s: dict[int, float] = {}  # when each of them was asked for
    self._turn_s = 0.0  # when any of them was
    self._ending = threading.Event()
    tasks = [(self._ask_state, STATE_S), (self._ask_timeline, TIMELINE_S)]
    tasks += [(self._ask_picture, TURN_S / PICTURES_AT_ONCE)] * PICTURES_AT_ONCE
    self._threads = [
      threading.Thread(target=self._repeat, args=task, daemon=True, name='browser')
      for task in tasks
    ]
    for thread in self._threads:
      thread.start()

  @property
  def pictures_per_s(self) -> float:
    """Pictures per second since the first one came."""
    return self.pictures / max(time.monotonic() - self._first_s, 1e-9) if self.pictures else 0.0

  def close(self) -> None:
    """Ask no more."""
    self._ending.set()
    for thread in self._threads:
      thread.join()

  def _repeat(self, ask: Callable[[http.client.HTTPConnection], None], pause_s: float) -> None:
    connection = http.client.HTTPConnection('127.0.0.1', self._port, timeout=10)
    while not self._ending.wait(pause_s):
      try:
        ask(connection)
      except (OSError, http.client.HTTPException):  # the next request opens it again
        connection.close()
    connection.close()

  def _ask_state(self, connection: http.client.HTTPConnection) -> None:
    sources = json.loads(_answer(connection, '/api/state') or b'{"sources": []}')['sources']
    self._numbers = [source['number'] for source in sources if source['picture'] is not None]

  def _ask_timeline(self, connection: http.client.HTTPConnection) -> None:
    _answer(connection, f'/api/timeline?after={int(time.time()) // _STRIP_S - 1}')

  def _ask_picture(self, connection: http.client.HTTPConnection) -> None:
    """Ask for the picture that is oldest, if it is time."""
    with self._lock:
      now_s = time.monotonic()
      if not self._numbers or now_s - self._turn_s < TURN_S:
        return
      number = min(self._numbers, key=lambda number: self._asked_s.get(number, 0.0))
      if now_s - self._asked_s.get(number, 0.0) < PICTURE_S:
        return
      self._turn_s = self._asked_s[number] = now_s
    if _answer(connection, f'/pictures/{number}?marks=1'):
      with self._lock:
        self._first_s = self._first_s or time.monotonic()
        self.pictures += 1


def _answer(connection: http.client.HTTPConnection, path: str) -> bytes:
  """Return what a path answers; b'' where it is refused."""
  connection.request('GET', path)
  answer = connection.getresponse()
  content = answer.read()
  return content if answer.status == 200 else b''
