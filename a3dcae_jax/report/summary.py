"""The figures of a run as text, for the terminal."""

from collections.abc import Mapping
from typing import Any

from a3dcae_jax.report.table import run_rows, text_table
from a3dcae_jax.scoring.bootstrap import LEAST_VIDEOS
from a3dcae_jax.scoring.protocol import describe


def summary(metrics: Mapping[str, Any]) -> str:
  """Return the figures of a run as several lines.

  First comes a table of the run, the same run with the other calibration, and the baselines; then
  the confidence interval, events and regions.

  Args:
    metrics: the content of `metrics.json`.
  """
  data = metrics['data']
  lines = [
    f'{data["name"]}: {data["frames"]} test frames in {data["videos"]} videos, '
    f'checkpoint of update {metrics["checkpoint_step"]}',
    describe(metrics),
  ]
  regression = describe_rank_regression(metrics['rank_regression'])
  if metrics['baselines'] is None:
    events = _counted(metrics['events']['detected'], 'event')
    lines.append(
      f'no labels for the test videos: scores and {events} are written, but there is no AUC'
    )
    lines.append(regression)
  else:
    lines += [
      f'labels {data["label_set"]}: {data["abnormal_frames"]} abnormal frames; '
      'figures over all frames together (micro)',
      text_table(run_rows(metrics)),
      regression,
      _interval(metrics),
      _events(metrics['events']),
      _regions(metrics['regions']),
    ]
  return '\n'.join(line for line in lines if line)


def describe_rank_regression(regression: Mapping[str, Any] | None) -> str:
  """Describe the rank regression in a line; '' without one (all errors are equal)."""
  if not regression:
    return ''
  named = [
    f'{name.replace("_", " ")} {weight:.2f}' for name, weight in regression['weights'].items()
  ]
  return f'rank regression on the baselines: {", ".join(named)}; R^2 {regression["r2"]:.2f}'


def _interval(metrics: Mapping[str, Any]) -> str:
  interval = metrics['auc_interval']
  if interval is None:
    return (
      'no confidence interval of the AUC: whole videos are resampled, which takes at least '
      f'{LEAST_VIDEOS}'
    )
  if interval['low'] is None:
    return 'only one class: AUC is not defined'
  return (
    f'{100 * interval["level"]:.0f} % confidence interval of the AUC '
    f'({metrics["protocol"]["normalisation"]}, resampled videos): '
    f'{100 * interval["low"]:.1f} to {100 * interval["high"]:.1f}'
  )


def _events(events: Mapping[str, Any]) -> str:
  expected = events['expected_alarms']
  return (
    f'events: {events["true_positives"]} of {events["true_events"]} found, '
    f'{_counted(events["false_alarms"], "false alarm")} '
    f'({events["false_alarms_per_hour"]:.0f} per hour), '
    f'threshold {events["threshold"]:.2f} '
    f'({events["protocol"]["threshold_rule"]} of training scores); training videos have '
    f'{_counted(expected["events"], "event")} in {60 * expected["hours"]:.1f} min, '
    f'{expected["per_hour"]:.0f} per hour (95 %: {expected["low"]:.0f} to {expected["high"]:.0f})'
  )


def _regions(regions: Mapping[str, Any] | None) -> str:
  if not regions or 'rbdc' not in regions:
    return ''
  videos = ''
  if len(regions['videos']) < regions['of_videos']:
    with_masks = _counted(len(regions['videos']), 'video')
    videos = f', over {with_masks} with masks'
  return (
    f'pixel AUC {100 * regions["pixel_auc"]:.1f}, RBDC {100 * regions["rbdc"]["flat"]:.1f}, '
    f'TBDC {100 * regions["tbdc"]["flat"]:.1f} '
    f'(curves held flat up to 1 false positive per frame{videos})'
  )


def _counted(number: int, noun: str) -> str:
  return f'{number} {noun}' if number == 1 else f'{number} {noun}s'
