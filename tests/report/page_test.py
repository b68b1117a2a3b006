"""The report: written from plain arrays, self-contained, and every plot drawn in a real browser where one is installed."""

import pathlib
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from a3dcae_jax.report.contents import Report, Strip, VideoScores
from a3dcae_jax.report.page import MAX_VIDEO_PLOTS, write_report
from a3dcae_jax.report.plots import intervals
from a3dcae_jax.scoring.schema import NORMALISED_FRAMES

ARTEFACTS = pathlib.Path(__file__).parents[1] / 'artefacts'
VALUES = {
  'auc': 0.9,
  'eer': 0.1,
  'ap': 0.8,
  'macro_auc': None,
  'undefined_videos': 2,
  'score_gap': 0.2,
}


def make_report(rng, *, labels=True, videos=2, **changes):
  metrics = {
    'data': {
      'name': 'ucsd_ped2',
      'frames': 40,
      'videos': videos,
      'label_set': 'official' if labels else None,
    },
    'protocol': {
      'error': 'eq13',
      'normalisation': 'eq14',
      'window': 16,
      'every_frames': 0,
      'smoothing_frames': 0.0,
    },
    'checkpoint_step': 3,
    'seed': 0,
    'metrics': {'eq14': VALUES, 'train': VALUES},
    'by_position': {'eq14': VALUES},
    'baselines': {'frame_difference': {'eq14': VALUES}} if labels else None,
  }
  shown = tuple(
    VideoScores(f'<{i}>', rng.random(20), rng.integers(0, 2, 20) if labels else None, ((2, 5),))
    for i in range(videos)
  )
  strip = Strip('video <1>', rng.random((8, 8)), rng.random((8, 8)), rng.random((8, 8)))
  return Report(
    title='a <title>',
    metrics=metrics,
    videos=shown,
    rocs={'this run': (np.linspace(0, 1, 5), np.linspace(0, 1, 5))} if labels else {},
    losses={'rec': (np.arange(5), rng.random(5))},
    strips={'Most abnormal': (strip,)},
    config={'seed': 0},
    feature_maps={'conv1': ('conv1, channel 2', rng.random((4, 4)))},
    **changes,
  )


def test_intervals():
  assert intervals(np.asarray([1, 1, 0, 0, 1])) == [(0, 2), (4, 5)]
  assert intervals(None) == intervals(np.zeros(3)) == []


def test_page_is_self_contained_and_escaped(tmp_path, rng):
  write_report(tmp_path / 'report.html', make_report(rng))
  text = (tmp_path / 'report.html').read_text()
  assert (
    'a &lt;title&gt;' in text
    and '<title>a <title>' not in text
    and '90.0 / 10.0' in text
    and '91.0 / 10.9' in text
  )
  outside_scripts = re.sub(
    r'<script.*?</script>', '', text, flags=re.DOTALL
  )  # Bokeh's own code names addresses that it never loads here
  assert not re.search(r'(src|href)="(https?:)?//', outside_scripts) and not re.search(
    r'<script[^>]* src=', text
  )
  assert len(text) < 5_000_000


def test_no_labels_is_said(tmp_path, rng):
  write_report(tmp_path / 'report.html', make_report(rng, labels=False))
  assert 'there are scores, but no AUC' in (tmp_path / 'report.html').read_text()


def test_pictures_of_normalised_frames_say_so(tmp_path, rng):
  report, said = make_report(rng), 'as it is normalised for the network'
  write_report(tmp_path / 'plain.html', report)
  report.metrics['protocol']['error'] = f'eq13, {NORMALISED_FRAMES} 0.02'
  write_report(tmp_path / 'normalised.html', report)
  assert [said in (tmp_path / f'{name}.html').read_text() for name in ('plain', 'normalised')] == [
    False,
    True,
  ]


def test_many_videos_stay_light(tmp_path, rng):
  write_report(tmp_path / 'report.html', make_report(rng, videos=MAX_VIDEO_PLOTS + 3))
  assert '3 more videos are in scores.csv' in (tmp_path / 'report.html').read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which('chromium') is None, reason='no chromium')
def test_browser_draws_every_plot(tmp_path, rng):
  """Bokeh replaces each placeholder's content by a canvas in a shadow root; a script counts them and writes the title."""
  write_report(tmp_path / 'report.html', make_report(rng))
  path = tmp_path / 'report.html'
  count = (
    "<script>window.errors = 0; addEventListener('error', () => errors++); setTimeout(() => { const deep = (root) => "
    "[...root.querySelectorAll('*')].reduce((n, e) => n + (e.tagName == 'CANVAS') + (e.shadowRoot ? deep(e.shadowRoot) : 0), 0);"
    'document.title = `canvases ${deep(document)} errors ${errors}`; }, 3000);</script>'
  )
  path.write_text(path.read_text().replace('<style>', count + '<style>', 1))
  flags = [
    '--headless=new',
    '--no-sandbox',
    '--disable-gpu',
    '--disable-background-networking',
    '--disable-component-update',
    '--disable-sync',
    '--no-first-run',
    '--virtual-time-budget=10000',
    f'--user-data-dir={tmp_path}/profile',
  ]
  run = subprocess.run(
    ['chromium', *flags, '--dump-dom', path.as_uri()],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  found = re.search(r'canvases (\d+) errors (\d+)', run.stdout)
  assert found, run.stderr[-500:]
  assert int(found.group(1)) >= 4 and found.group(2) == '0'  # ROC, two videos, one loss
  ARTEFACTS.mkdir(exist_ok=True)
  for name, size in (
    ('desktop', '1200,3000'),
    ('phone', '390,4500'),
  ):  # kept, for people to look at
    picture = ARTEFACTS / f'report_{name}.png'
    picture.unlink(missing_ok=True)
    subprocess.run(
      ['chromium', *flags, f'--window-size={size}', f'--screenshot={picture}', path.as_uri()],
      capture_output=True,
      timeout=120,
      check=False,
    )
    assert np.asarray(Image.open(picture).convert('L')).std() > 5  # something is drawn on the white
