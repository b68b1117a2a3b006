"""A small report for tests, from random numbers."""

import numpy as np

from a3dcae_jax.report.contents import Report, Strip, VideoScores
from tests.scoring.example import example_metrics, unlabelled_metrics


def example_report(rng, *, labels=True, videos=2, metrics=None):
  """Return a report with names that HTML must escape."""
  if metrics is None:
    metrics = example_metrics() if labels else unlabelled_metrics()
  shown = []
  for index in range(videos):
    video_labels = rng.integers(0, 2, 20) if labels else None
    shown.append(VideoScores(f'<{index}>', rng.random(20), video_labels, ((2, 5),)))
  strip = Strip('video <1>', rng.random((8, 8)), rng.random((8, 8)), rng.random((8, 8)))
  rising = np.linspace(0, 1, 5)
  return Report(
    title='a <title>',
    metrics=metrics,
    videos=tuple(shown),
    rocs={'this run': (rising, rising)} if labels else {},
    losses={'rec': (np.arange(5), rng.random(5))},
    strips={'Most abnormal': (strip,)},
    feature_maps={'conv1': ('conv1, channel 2', rng.random((4, 4)))},
    config={'seed': 0},
  )
