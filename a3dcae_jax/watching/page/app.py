"""The addresses of the page and what each of them answers."""

import importlib.resources
import json
import time
import urllib.parse
from collections.abc import Callable
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import (
  FileResponse,
  HTMLResponse,
  JSONResponse,
  PlainTextResponse,
  RedirectResponse,
  Response,
)
from starlette.routing import Route

from a3dcae_jax.watching.page.access import SESSION_S, Access, TooManyTries
from a3dcae_jax.watching.page.event_list import Listed
from a3dcae_jax.watching.page.feed import STRIP_HOURS, STRIP_S, Feed, rounded
from a3dcae_jax.watching.page.feedback import Feedback
from a3dcae_jax.watching.page.gate import Gate, client_of, too_many
from a3dcae_jax.watching.page.metrics import make_registry, metrics_text
from a3dcae_jax.watching.page.pictures import Pictures

LARGEST_BODY = 4096
PAGE_EVENTS = 20
_STATE_S = 0.4  # state and metrics are made once for all browsers within this time
_TIMELINE_S = 2.0
_KEPT_ANSWERS = 16
_MARKED_EVENTS = 500  # in the timeline
_NAMES = 300  # of sources in the list of choices
_STATIC = {
  '/': ('page.html', 'text/html'),
  '/page.js': ('page.js', 'text/javascript'),
  '/page.css': ('page.css', 'text/css'),
  '/icon.svg': ('icon.svg', 'image/svg+xml'),
}
_WRONG = '<!-- wrong -->'
_MESSAGE = '<p class="wrong" role="alert">This token is wrong.</p>'


def make_app(feed: Feed, feedback: Feedback, access: Access, cookie: str) -> Gate:
  """Return the application.

  Args:
    feed: sources and events.
    feedback: marks of events.
    access: decides who may see them.
    cookie: name of the cookie that holds the session.
  """
  return Gate(_Routes(feed, feedback, access, cookie).app, access, cookie)


class _Routes:
  """Answers requests that the gate lets through."""

  def __init__(self, feed, feedback, access, cookie):
    self._feed = feed
    self._feedback = feedback
    self._access = access
    self._cookie = cookie
    self._pictures = Pictures(self._feed)
    self._registry = make_registry(self._feed)
    self._states_made = _Answers(_STATE_S)
    self._timelines_made = _Answers(_TIMELINE_S)
    self._metrics_made = _Answers(_STATE_S)
    folder = importlib.resources.files('a3dcae_jax.watching.page')
    self._files = {
      path: Response((folder / name).read_bytes(), media_type=kind)
      for path, (name, kind) in _STATIC.items()
    }
    self._login_page = (folder / 'login.html').read_text(encoding='utf-8')
    answers = [
      ('/login', self._login, 'GET'),
      ('/login', self._sign_in, 'POST'),
      ('/logout', self._sign_out, 'POST'),
      ('/healthz', self._health, 'GET'),
      ('/readyz', self._readiness, 'GET'),
      ('/metrics', self._metrics, 'GET'),
      ('/api/state', self._states, 'GET'),
      ('/api/timeline', self._timeline, 'GET'),
      ('/api/events', self._events, 'GET'),
      ('/api/events/{key}', self._event, 'GET'),
      ('/api/events/{key}/feedback', self._mark, 'POST'),
      ('/pictures/{number}', self._picture, 'GET'),
      ('/stills/{key}', self._still, 'GET'),
      ('/clips/{key}', self._clip, 'GET'),
    ]
    routes = [Route(path, answer, methods=[method]) for path, answer, method in answers]
    routes += [Route(path, self._static) for path in _STATIC]
    self.app = Starlette(routes=routes)

  async def _static(self, request: Request) -> Response:
    return self._files[request.scope['path']]

  async def _login(self, request: Request) -> Response:
    del request
    return HTMLResponse(self._login_page)

  async def _sign_in(self, request: Request) -> Response:
    body = await _body(request)
    if body is None:
      return _too_large()
    try:
      fields = urllib.parse.parse_qs(body.decode('utf-8', 'replace'), max_num_fields=4)
    except ValueError:  # more fields
      fields = {}
    try:
      session = self._access.sign_in(fields.get('token', [''])[0].strip(), client_of(request))
    except TooManyTries as error:
      return too_many(error)
    if not session:
      return HTMLResponse(self._login_page.replace(_WRONG, _MESSAGE), 403)
    answer = RedirectResponse('/', 303)
    answer.set_cookie(
      self._cookie,
      session,
      max_age=SESSION_S,
      httponly=True,
      samesite='strict',
      secure=request.headers.get('x-forwarded-proto') == 'https',
    )
    return answer

  async def _sign_out(self, request: Request) -> Response:
    self._access.sign_out(request.cookies.get(self._cookie, ''))
    answer = RedirectResponse('/login', 303)
    answer.delete_cookie(self._cookie, httponly=True, samesite='strict')
    return answer

  async def _health(self, request: Request) -> Response:
    del request
    return PlainTextResponse('ok\n')

  async def _readiness(self, request: Request) -> Response:
    del request
    obstacle = self._feed.obstacle()
    return PlainTextResponse(f'{obstacle or "ready"}\n', 503 if obstacle else 200)

  async def _metrics(self, request: Request) -> Response:
    del request
    text = self._metrics_made.get('', lambda: metrics_text(self._registry))
    return Response(text, media_type='text/plain; version=0.0.4; charset=utf-8')

  async def _states(self, request: Request) -> Response:
    del request
    return Response(self._states_made.get('', self._state), media_type='application/json')

  def _state(self) -> bytes:
    state = {
      'time': time.time(),
      'needs_token': self._access.needs_token,
      'revision': self._feed.events.revision,
      'sources': [view.state() for view in self._feed.views()],
    }
    return json.dumps(state, allow_nan=False).encode()

  async def _timeline(self, request: Request) -> Response:
    after = _number(request, 'after')
    content = self._timelines_made.get(after, lambda: self._timeline_after(after))
    return Response(content, media_type='application/json')

  def _timeline_after(self, after: int) -> bytes:
    now_s = time.time()
    oldest_s = now_s - STRIP_HOURS * 3600
    events = [event for event in self._feed.events.newest() if event.start_s > oldest_s]
    strips = [
      {
        'number': view.number,
        'name': view.source.name,
        'threshold': rounded(view.threshold),
        'scores': view.strip(after),
      }
      for view in self._feed.views()
    ]
    answer = {
      'time': now_s,
      'step_s': STRIP_S,
      'hours': STRIP_HOURS,
      'sources': strips,
      'events': [self._mark_of(event) for event in events[:_MARKED_EVENTS]],
    }
    return json.dumps(answer, allow_nan=False).encode()

  async def _events(self, request: Request) -> Response:
    events = self._feed.events
    chosen = events.newest(
      request.query_params.get('source', ''), request.query_params.get('kind', '')
    )
    first = _number(request, 'first')
    shown = chosen[first : first + PAGE_EVENTS]
    answer = {
      'revision': events.revision,
      'total': len(chosen),
      'first': first,
      'count': PAGE_EVENTS,
      'events': await run_in_threadpool(lambda: [self._described(event) for event in shown]),
      'sources': sorted({event.source for event in events.newest()})[:_NAMES],
    }
    return JSONResponse(answer)

  async def _event(self, request: Request) -> Response:
    event = self._feed.events.get(request.path_params['key'])
    if event is None:
      return _missing()
    return JSONResponse(await run_in_threadpool(self._described, event))

  async def _mark(self, request: Request) -> Response:
    event = self._feed.events.get(request.path_params['key'])
    if event is None or event.kind != 'abnormal':
      return JSONResponse({'error': 'there is no such event'}, 404)
    if event.is_open:
      return JSONResponse({'error': 'the event has not ended yet'}, 409)
    body = await _body(request)
    if body is None:
      return _too_large()
    try:
      is_normal = json.loads(body)['normal']
    except (ValueError, KeyError, TypeError, RecursionError):
      is_normal = None
    if not isinstance(is_normal, bool):
      return JSONResponse({'error': 'the body must be {"normal": true} or false'}, 400)
    try:
      await run_in_threadpool(self._feedback.mark, event, is_normal)
    except OSError as error:
      return JSONResponse({'error': f'feedback.jsonl: {error.strerror or error}'}, 507)
    self._timelines_made.forget()  # marks are shown there
    return JSONResponse(self._described(event))

  async def _picture(self, request: Request) -> Response:
    number = _number_in(request.path_params['number'])
    view = None if number is None else self._feed.view(number)
    if view is None:
      return _missing()
    has_marks = request.query_params.get('marks') == '1'
    content = self._pictures.kept(view, has_marks) or await run_in_threadpool(
      self._pictures.jpeg, view, has_marks
    )
    return Response(content, media_type='image/jpeg') if content else _missing()

  async def _still(self, request: Request) -> Response:
    return await self._file(request, '.jpg', 'image/jpeg')

  async def _clip(self, request: Request) -> Response:
    return await self._file(request, '.mp4', 'video/mp4')

  async def _file(self, request, suffix, kind):
    """Return a file of a known event; ranges are answered."""
    event = self._feed.events.get(request.path_params['key'])
    path = event and await run_in_threadpool(self._feed.events.file, event, suffix)
    if not path:
      return _missing()
    return FileResponse(path, media_type=kind, headers={'Cache-Control': 'private, no-cache'})

  def _mark_of(self, event: Listed) -> list[Any]:
    """Return an event as the timeline shows it."""
    return [
      event.key,
      event.source,
      event.kind,
      event.start_s,
      event.end_s,
      event.is_open,
      self._feedback.is_normal(event.key),
    ]

  def _described(self, event: Listed) -> dict[str, Any]:
    """Return an event as the list shows it."""
    record = event.record
    return {
      'key': event.key,
      'source': event.source,
      'kind': event.kind,
      'start': event.start_s,
      'end': event.end_s,
      'is_open': event.is_open,
      'score': event.score,
      'threshold': record.get('threshold'),
      'frame': event.start_frame,
      'message': record['message'],
      'has_still': bool(self._feed.events.file(event, '.jpg')),
      'has_clip': bool(self._feed.events.file(event, '.mp4')),
      'is_normal': self._feedback.is_normal(event.key),
    }


class _Answers:
  """Answers that are made once for all browsers that ask within a time."""

  def __init__(self, kept_s: float) -> None:
    self._kept_s = kept_s
    self._made: dict[Any, tuple[float, bytes]] = {}

  def get(self, key: Any, make: Callable[[], bytes]) -> bytes:
    """Return the answer with a key, made now if it is too old."""
    made_s, content = self._made.pop(key, (0.0, b''))
    if time.monotonic() - made_s > self._kept_s:
      made_s, content = time.monotonic(), make()
    self._made[key] = made_s, content
    if len(self._made) > _KEPT_ANSWERS:
      del self._made[next(iter(self._made))]
    return content

  def forget(self) -> None:
    """Make each answer again when it is next asked for."""
    self._made.clear()


async def _body(request: Request) -> bytes | None:
  """Return the body of a request; None if it is too large, or the client has gone."""
  body = b''
  try:
    async for part in request.stream():
      body += part
      if len(body) > LARGEST_BODY:
        return None
  except ClientDisconnect:  # nobody reads the answer
    return None
  return body


def _number(request, name):
  return _number_in(request.query_params.get(name, '0')) or 0


def _number_in(text: str) -> int | None:
  """Return a number of at most 15 digits; None for another text."""
  return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else None


def _missing():
  return PlainTextResponse('not found\n', 404)


def _too_large():
  return PlainTextResponse('the request is too large\n', 413, {'Connection': 'close'})
