"""The live page in a browser, over a `detect` that watches a moving camera.

Screenshots are kept in the folder that A3DCAE_SCREENSHOTS names.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from tests.watching.toy import HttpCamera, camera, write_toy_bundle

ROOT = pathlib.Path(__file__).parents[3]
CHROMIUM = next(
  filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None
)
NAMES = ('door', 'yard')
DESKTOP = {'width': 1280, 'height': 900}
PHONE = {'width': 390, 'height': 844}
TOKEN = 'correct-horse-battery'
IS_DRAWN = """canvas => canvas.getContext('2d')
  .getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0)"""

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(CHROMIUM is None, reason='no Chromium here: apt-get install chromium'),
]


class Detect:
  """`detect --serve` as a process, until `end`."""

  def __init__(self, folder, sources, *arguments, token=''):
    command = [
      sys.executable,
      '-m',
      'a3dcae_jax.detect',
      f'--bundle={folder / "toy.bundle"}',
      f'--out={folder / "out"}',
      '--serve=127.0.0.1:0',
      *arguments,
      *sources,
    ]
    self._process = subprocess.Popen(
      command,
      cwd=ROOT,
      env=os.environ | {'A3DCAE_TOKEN': token},
      stdout=subprocess.PIPE,
      text=True,
    )
    self.lines = []
    self.url = self._await_line(r'page: (\S+)')
    self._await_ready()

  def _await_line(self, pattern):
    for line in self._process.stdout:
      self.lines.append(line)
      if match := re.search(pattern, line):
        return match[1]
    raise AssertionError(''.join(self.lines))

  def _await_ready(self):
    end_s = time.monotonic() + 60
    while time.monotonic() < end_s:
      try:
        with urllib.request.urlopen(f'{self.url}readyz', timeout=5):
          return
      except urllib.error.HTTPError as error:
        assert error.code == 503
        time.sleep(0.2)
    raise AssertionError('it does not become ready')

  def end(self):
    """End it cleanly, if it has not been killed."""
    if self._process.poll() is None:
      self._process.terminate()
      rest, _ = self._process.communicate(timeout=60)
      self.lines.append(rest)
      assert self._process.returncode == 0

  def kill(self):
    self._process.kill()
    self._process.communicate(timeout=60)


class Visitor:
  """A browser window that notes all that a page must not do."""

  def __init__(self, browser, detect, viewport=DESKTOP, scheme='light'):
    self.context = browser.new_context(viewport=viewport, color_scheme=scheme)
    self.page = self.context.new_page()
    self.faults = []
    self._url = detect.url
    self.page.on('console', self._on_console)
    self.page.on('pageerror', lambda error: self.faults.append(f'error: {error}'))
    self.page.on('request', self._on_request)
    self.page.goto(detect.url)

  def _on_console(self, message):
    if message.type in ('error', 'warning'):
      self.faults.append(f'{message.type}: {message.text}')

  def _on_request(self, request):
    if not request.url.startswith(self._url):
      self.faults.append(f'outside: {request.url}')

  def keep(self, name):
    """Keep a screenshot, if the environment says where."""
    folder = os.environ.get('A3DCAE_SCREENSHOTS')
    if folder:
      self.page.screenshot(path=pathlib.Path(folder) / f'{name}.png', full_page=True)

  def fits(self):
    return self.page.evaluate('document.documentElement.scrollWidth <= innerWidth')

  def close(self):
    self.context.close()
    assert self.faults == []


@pytest.fixture(scope='module')
def browser():
  from playwright.sync_api import sync_playwright

  with sync_playwright() as playwright:
    started = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
    yield started
    started.close()


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp('page')
  write_toy_bundle(folder / 'toy.bundle')
  return folder


@pytest.fixture(scope='module')
def cameras():
  """Two cameras at 25 frames/s; something bright is in one of them for 3 of every 12 s."""
  door = HttpCamera(list(camera(300, range(100, 175))), pause_s=0.04)
  yard = HttpCamera(list(camera(100)), pause_s=0.04)
  yield door, yard
  door.stop()
  yard.stop()


@pytest.fixture
def start(folder, cameras):
  """Return a function that starts `detect`; it is ended after the test."""
  started = []

  def start(**options):
    sources = [f'{name}={each.address}' for name, each in zip(NAMES, cameras, strict=True)]
    started.append(Detect(folder, sources, **options))
    return started[-1]

  yield start
  for detect in started:
    detect.end()


def test_pictures_move_an_event_appears_and_feedback_is_kept(browser, start, folder):
  detect = start()
  visitor = Visitor(browser, detect)
  page = visitor.page
  tile = page.locator('.camera', has_text='door')
  picture = tile.locator('img')
  picture.wait_for(timeout=20_000)
  first = picture.screenshot()
  page.wait_for_timeout(1000)
  assert picture.screenshot() != first
  assert page.locator('.camera').count() == 2
  assert tile.locator('canvas').evaluate(IS_DRAWN)
  assert page.locator('#strips canvas').first.evaluate(IS_DRAWN)
  # The event appears by itself, and can be marked once it has ended.
  mark = page.locator('.event .mark:enabled')
  mark.first.wait_for(timeout=60_000)
  event = page.locator('.event', has=page.locator('.mark:enabled')).last
  assert 'door' in event.inner_text()
  visitor.keep('desktop')
  event.get_by_role('button', name='Not abnormal').focus()
  page.keyboard.press('Enter')
  event.get_by_text('marked as normal').wait_for()
  line = json.loads((folder / 'out' / 'feedback.jsonl').read_text().splitlines()[-1])
  assert line['source'] == 'door' and line['normal'] is True
  page.reload()
  page.locator('.event.normal').wait_for()
  # The clip plays in a dialog that the keyboard closes.
  page.locator('.event.normal .watch', has_text='Clip').wait_for(timeout=20_000)
  page.locator('.event.normal .watch').click()
  video = page.locator('dialog video')
  video.evaluate('video => new Promise((done) => { video.onplaying = done; video.play(); })')
  assert video.evaluate('video => video.videoWidth') == 96
  visitor.keep('clip')
  page.keyboard.press('Escape')
  assert not page.locator('dialog').is_visible()
  # Filters, and the undo.
  page.locator('#source').select_option('door')
  page.locator('.event').first.wait_for()
  page.locator('.event.normal .mark').click()
  page.locator('.event.normal').wait_for(state='detached')
  line = json.loads((folder / 'out' / 'feedback.jsonl').read_text().splitlines()[-1])
  assert line['normal'] is False
  visitor.close()


def test_it_fits_phones_and_desktops_light_and_dark(browser, start):
  detect = start()
  grounds = {}
  for name, size in (('desktop', DESKTOP), ('phone', PHONE)):
    for scheme in ('light', 'dark'):
      visitor = Visitor(browser, detect, size, scheme)
      visitor.page.locator('.camera img').last.wait_for(timeout=20_000)
      visitor.page.locator('.event').first.wait_for(timeout=60_000)
      assert visitor.fits(), (name, scheme)
      grounds[scheme] = visitor.page.evaluate('getComputedStyle(document.body).backgroundColor')
      visitor.keep(f'{name}_{scheme}')
      visitor.close()
  assert grounds['light'] != grounds['dark']


def test_every_control_is_reached_by_the_keyboard_and_has_a_name(browser, start):
  detect = start()
  visitor = Visitor(browser, detect)
  page = visitor.page
  page.locator('.event .mark').first.wait_for(timeout=60_000)
  reached = set()
  for _ in range(40):
    page.keyboard.press('Tab')
    reached.add(
      page.evaluate('(e => e.id || e.name || e.className || e.tagName)(document.activeElement)')
    )
    outline = page.evaluate(
      "(e => { const s = (i) => getComputedStyle(i).outlineStyle; return s(e) !== 'none' || "
      "(e.nextElementSibling && s(e.nextElementSibling) !== 'none'); })(document.activeElement)"
    )
    assert outline or page.evaluate("document.activeElement.tagName === 'BODY'")
  assert {'skip', 'marks', 'range', 'source', 'kind', 'thumb', 'watch'} <= reached
  unnamed = page.evaluate(
    "[...document.querySelectorAll('button, input, select')].filter((e) => !e.closest('dialog') && "
    "!(e.getAttribute('aria-label') || e.textContent.trim() || (e.labels && e.labels.length)))"
    '.map((e) => e.outerHTML)'
  )
  assert unnamed == []
  visitor.close()


def test_a_page_with_a_token_asks_for_it_and_a_kill_is_shown(browser, start):
  detect = start(token=TOKEN)
  visitor = Visitor(browser, detect)
  page = visitor.page
  assert page.url == f'{detect.url}login'
  visitor.keep('sign_in')
  page.get_by_label('Token').fill(TOKEN)
  page.get_by_role('button', name='Sign in').click()
  page.locator('.camera img').first.wait_for(timeout=20_000)
  assert page.url == detect.url
  cookies = visitor.context.cookies()
  assert [cookie['httpOnly'] for cookie in cookies] == [True]
  assert TOKEN not in json.dumps(cookies)
  assert page.evaluate('document.cookie') == ''
  page.get_by_role('button', name='Sign out').click()
  page.wait_for_url(f'{detect.url}login')
  page.get_by_label('Token').fill(TOKEN)
  page.keyboard.press('Enter')
  page.locator('.camera img').first.wait_for(timeout=20_000)
  assert visitor.faults == []
  detect.kill()
  page.locator('#offline', has_text='No connection').wait_for(timeout=20_000)
  visitor.keep('offline')
  visitor.context.close()
  assert TOKEN not in ''.join(detect.lines)


def test_faults_of_the_page_would_be_seen(browser, start):
  detect = start()
  visitor = Visitor(browser, detect)
  visitor.page.evaluate(
    "document.body.append(Object.assign(new Image(), {src: 'https://example.invalid/a.png'}))"
  )
  visitor.page.evaluate("setTimeout(() => { throw new Error('thrown'); })")
  visitor.page.wait_for_timeout(500)
  text = '\n'.join(visitor.faults)
  assert 'thrown' in text
  assert 'example.invalid' in text
  visitor.context.close()
