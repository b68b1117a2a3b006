"""The page's plots, by Bokeh: they zoom, and draw themselves without a network."""

import numpy as np
from bokeh.models import BoxAnnotation, HoverTool, Range1d
from bokeh.plotting import figure

COLOURS = (
  '#0072b2',
  '#d55e00',
  '#7f7f7f',
  '#009e73',
  '#cc79a7',
)  # tell apart in print and for colour-blind readers
TOOLS = 'xpan,xwheel_zoom,box_zoom,reset,save'


def roc_plot(rocs):
  """ROC curves: name -> (fpr, tpr). Their line of equal error is dashed."""
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
    keep = _thin(len(fpr), 800)
    plot.line(fpr[keep], tpr[keep], color=colour, line_width=2, legend_label=name)
  plot.legend.location = 'bottom_right'
  plot.legend.background_fill_alpha = 0.8
  return plot


def score_plot(video):
  """A video's score over its frames: abnormal intervals shaded, detected ones as bars along the lower edge."""
  plot = figure(
    height=190,
    sizing_mode='stretch_width',
    tools=TOOLS,
    active_drag='box_zoom',
    x_axis_label='frame',
    y_axis_label='score',
    title=f'video {video.name}',
  )
  for start, end in intervals(video.labels):
    plot.add_layout(
      BoxAnnotation(
        left=start - 0.5, right=end - 0.5, fill_color='#d55e00', fill_alpha=0.18, line_color=None
      )
    )
  plot.line(
    np.arange(len(video.scores)),
    np.asarray(video.scores, np.float32),
    color=COLOURS[0],
    line_width=1.5,
  )
  if video.detected:
    low, high = float(np.min(video.scores)), float(np.max(video.scores))
    bar = low - 0.06 * max(high - low, 1e-9)
    plot.segment(
      x0=[a for a, _ in video.detected],
      x1=[b for _, b in video.detected],
      y0=bar,
      y1=bar,
      color='#009e73',
      line_width=6,
    )
  plot.add_tools(HoverTool(tooltips=[('frame', '@x'), ('score', '@y{0.0000}')], mode='vline'))
  return plot


def loss_plot(name, steps, values):
  """A loss over the updates, on a logarithmic axis where it is positive."""
  values = np.asarray(values, np.float64)
  keep = _thin(len(values), 1500)
  kind = 'log' if (values > 0).all() else 'linear'
  plot = figure(
    height=240,
    sizing_mode='stretch_width',
    tools=TOOLS,
    x_axis_label='update',
    y_axis_type=kind,
    title=name,
  )
  plot.line(np.asarray(steps)[keep], values[keep], color=COLOURS[0])
  return plot


def intervals(labels):
  """[(start, end), ...], end exclusive, of the runs of ones; none for None."""
  if labels is None:
    return []
  edges = np.diff(np.r_[0, np.asarray(labels, np.int8), 0])
  return list(zip(np.flatnonzero(edges == 1), np.flatnonzero(edges == -1), strict=True))


def _thin(count, most):
  return np.unique(np.linspace(0, count - 1, min(count, most)).astype(int))
