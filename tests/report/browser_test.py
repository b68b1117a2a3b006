"""The report in a browser: plots are drawn without errors or a network."""

import html
import json
import pathlib
import re
import shutil
import subprocess

import pytest

from a3dcae_jax.report.page import write_report
from tests.report.example import example_report

CHROMIUM = next(filter(shutil.which, ('chromium', 'chromium-browser', 'google-chrome')), None)

pytestmark = [
  pytest.mark.slow,
  pytest.mark.skipif(CHROMIUM is None, reason='no Chromium here: apt-get install chromium'),
]

DESKTOP = (1200, 900)
PHONE = (390, 844)

# Bokeh draws into canvases inside shadow roots. A request for anything outside the page violates
# the policy.
PROBE = """
<meta http-equiv="Content-Security-Policy" content="default-src data: blob: 'unsafe-inline'">
<script>
const found = {errors: [], violations: []};
for (const level of ['error', 'warn']) {
  const show = console[level].bind(console);
  console[level] = (...words) => { found.errors.push(words.join(' ')); show(...words); };
}
addEventListener('error', (event) => found.errors.push(event.message));
addEventListener('unhandledrejection', (event) => found.errors.push(String(event.reason)));
addEventListener('securitypolicyviolation', (event) => found.violations.push(event.blockedURI));
const canvases = (root) => [...root.querySelectorAll('*')].flatMap((element) => [
  ...(element.tagName === 'CANVAS' ? [element] : []),
  ...(element.shadowRoot ? canvases(element.shadowRoot) : []),
]);
const isDrawn = (canvas) => {
  const {data} = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  return data.some((value) => value > 0 && value < 255);
};
setTimeout(() => {
  const plots = [...document.querySelectorAll('[data-root-id]')];
  found.drawn = plots.map((plot) => canvases(plot).some((canvas) => isDrawn(canvas)));
  found.width = innerWidth;
  found.contentWidth = document.documentElement.scrollWidth;
  parent.postMessage(JSON.stringify(found), '*');
}, 3000);
</script>
"""

# Chromium's windows are at least 500 pixels wide; a frame can be narrower. The findings are
# returned in the title.
FRAME = """
<title></title>
<script>
addEventListener('message', (event) => { document.title = 'probe ' + event.data; });
</script>
<iframe src="{name}" style="width: {width}px; height: {height}px; border: 0"></iframe>
"""


def look_at(path: pathlib.Path, size: tuple[int, int]):
  """Open a page in a frame of `size` and return the findings of the probe."""
  text = path.read_text().replace('<head>', f'<head>{PROBE}', 1)
  probed = path.with_name(f'probed_{path.name}')
  probed.write_text(text)
  frame = path.with_name(f'frame_{path.name}')
  content = FRAME.replace('{name}', probed.name)
  content = content.replace('{width}', str(size[0])).replace('{height}', str(size[1]))
  frame.write_text(content)
  command = [
    CHROMIUM,
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
    '--enable-logging=stderr',
    '--virtual-time-budget=10000',
    '--window-size=1300,1000',
    f'--user-data-dir={path.parent}/profile',
    '--dump-dom',
    frame.as_uri(),
  ]
  run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
  title = re.search(r'<title>probe (.*?)</title>', run.stdout)
  assert title, run.stderr[-1000:]
  found = json.loads(html.unescape(title.group(1)))
  console = [line for line in run.stderr.splitlines() if ':CONSOLE' in line]
  found['console'] = [line for line in console if '[bokeh' not in line]  # a greeting
  return found


@pytest.mark.parametrize('size', [DESKTOP, PHONE], ids=['desktop', 'phone'])
def test_every_plot_is_drawn_without_errors_or_requests(tmp_path, rng, size):
  write_report(tmp_path / 'report.html', example_report(rng))
  found = look_at(tmp_path / 'report.html', size)
  assert found['drawn'] == [True] * 4  # ROC, two videos, one loss
  assert found['errors'] == []
  assert found['violations'] == []
  assert found['console'] == []
  assert found['width'] == size[0]
  assert found['contentWidth'] <= size[0]


def test_errors_and_outside_requests_would_be_seen(tmp_path):
  page = tmp_path / 'bad.html'
  page.write_text(
    '<html><head></head><body><img src="https://example.invalid/a.png">'
    '<script>console.error("logged"); throw new Error("thrown");</script></body></html>'
  )
  found = look_at(page, DESKTOP)
  assert any('thrown' in message for message in found['errors'])
  assert 'logged' in found['errors']
  assert found['violations'] == ['https://example.invalid/a.png']
  assert any('logged' in line for line in found['console'])
