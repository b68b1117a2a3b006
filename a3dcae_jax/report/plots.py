"""The plots of the report, by Bokeh: they zoom, and need no network."""

from collections.abc import Mapping, Sequence

import numpy as np
from bokeh.models import BoxAnnotation, HoverTool, Range1d
from bokeh.plotting import figure

from a3dcae_jax.report.contents import VideoScores
from a3dcae_jax.scoring.events import true_events

# Colours that differ in print and for colour-blind readers.
BLUE = '#0072b2'
ORANGE = '#d55e00'
GREEN = '#009e73'
COLOURS = (BLUE, ORANGE, '#7f7f7f', GREEN, '#cc79a7')
TOOLS = 'xpan,xwheel_zoom,box_zoom,reset,save'
_ROC_POINTS = 800
_LOSS_POINTS = 1500


def roc_plot(rocs: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> figure:
  """Plot ROC curves; a dashed line marks equal error.

  Args:
    rocs: name -> (false positive rate, true positive rate).
  """
  plot = figure(
    height=340,
    sizing_mode='stretch_width',
    tools='box_zoom,reset,save',
    x_axis_label='false positive rate',
    y_axis_label='true positive rate',
    x_range=Range1d(0, 1),
    y_range=Range1d(0, 1.005),
  )
  plot.line([0, 1], [1, 0], color='#999999', line_dash='dashed')
  for colour, (name, (fpr, tpr)) in zip(COLOURS, rocs.items(), strict=False):
    shown = _evenly_spread(len(fpr), _ROC_POINTS)
    plot.line(fpr[shown], tpr[shown], color=colour, line_width=2, legend_label=name)
  plot.legend.location = 'bottom_right'
  plot.legend.background_fill_alpha = 0.8
  return plot


def score_plot(video: VideoScores) -> figure:
  """Plot the score of a video over its frames.

  Abnormal intervals are shaded; detected events are bars along the lower edge.
  """
  plot = figure(
    height=190,
    sizing_mode='stretch_width',
    tools=TOOLS,
    active_drag='box_zoom',
    x_axis_label='frame',
    y_axis_label='score',
    title=f'video {video.name}',
  )
  if video.labels is not None:
    _shade(plot, true_events(video.labels))
  frames = np.arange(len(video.scores))
  plot.line(frames, np.asarray(video.scores, np.float32), color=BLUE, line_width=1.5)
  if video.detected:
    _draw_bars(plot, video)
  tooltips = [('frame', '@x'), ('score', '@y{0.0000}')]
  plot.add_tools(HoverTool(tooltips=tooltips, mode='vline'))
  return plot


def loss_plot(name: str, steps: np.ndarray, values: np.ndarray) -> figure:
  """Plot a loss over the updates, on a logarithmic axis if it is positive."""
  values = np.asarray(values, np.float64)
  plot = figure(
    height=240,
    sizing_mode='stretch_width',
    tools=TOOLS,
    x_axis_label='update',
    y_axis_type='log' if (values > 0).all() else 'linear',
    title=name,
  )
  shown = _evenly_spread(len(values), _LOSS_POINTS)
  plot.line(np.asarray(steps)[shown], values[shown], color=BLUE)
  return plot


def lines_plot(columns: Sequence[str], rows: Sequence[Sequence[float | None]]) -> figure:
  """Plot all columns of numbers over the first; at a missing value the line is open."""
  plot = figure(height=340, sizing_mode='stretch_width', tools=TOOLS, x_axis_label=columns[0])
  values = np.asarray(rows, np.float64)  # None becomes NaN
  for index, name in enumerate(columns[1:], start=1):
    colour = COLOURS[(index - 1) % len(COLOURS)]
    plot.line(values[:, 0], values[:, index], color=colour, line_width=2, legend_label=name)
  plot.legend.click_policy = 'hide'
  return plot


def _shade(plot: figure, intervals: Sequence[tuple[int, int]]) -> None:
  for start, end in intervals:
    box = BoxAnnotation(
      left=start - 0.5, right=end - 0.5, fill_color=ORANGE, fill_alpha=0.18, line_color=None
    )
    plot.add_layout(box)


def _draw_bars(plot: figure, video: VideoScores) -> None:
  low = float(np.min(video.scores))
  high = float(np.max(video.scores))
  span = max(high - low, 1e-9)
  height = low - 0.06 * span
  starts = [start for start, _ in video.detected]
  ends = [end for _, end in video.detected]
  plot.segment(x0=starts, x1=ends, y0=height, y1=height, color=GREEN, line_width=6)


def _evenly_spread(count: int, most: int) -> np.ndarray:
  """Return at most `most` evenly spread indices below `count`."""
  indices = np.linspace(0, count - 1, min(count, most))
  return np.unique(indices.astype(int))
