"""A run's figures as text, for the terminal."""

from a3dcae_jax.scoring.normalisation import NORMALISATIONS
from a3dcae_jax.scoring.schema import describe_follows, describe_windows, twin


def summary(metrics):
  """The run, its by-position twin and the baselines as a table; events and regions as lines."""
  data = metrics['data']
  lines = [
    f'{data["name"]}: {data["frames"]} test frames in {data["videos"]} videos, checkpoint of step {metrics["checkpoint_step"]}'
  ]
  if metrics['baselines'] is None:
    unlabelled = f'no labels for the test videos: {metrics["events"]["detected"]} events, scores are written, there is no AUC'
    return '\n'.join([*lines, *_follows(metrics), unlabelled])
  protocol = metrics['protocol']
  lines.append(
    f'labels {data["label_set"]}, {data["abnormal_frames"]} abnormal; error: {protocol["error"]}; {describe_windows(metrics)}'
  )
  lines.append('AUC / EER in percent, all frames together (micro)')
  lines.append(f'{"":34s}' + ''.join(f'{how:>16s}' for how in NORMALISATIONS))
  rows = dict([('this run', metrics['metrics']), twin(metrics)])
  rows |= {
    f'baseline: {name.replace("_", " ")}': baseline
    for name, baseline in metrics['baselines'].items()
  }
  lines += [
    f'{name:34.34s}' + ''.join(f'{_cell(row.get(how)):>16s}' for how in NORMALISATIONS)
    for name, row in rows.items()
  ]
  return '\n'.join(
    [
      *lines,
      *_follows(metrics),
      _interval(metrics),
      *_events(metrics['events']),
      *_regions(metrics['regions']),
    ]
  )


def _follows(metrics):
  text = describe_follows(metrics)
  return [text] if text else []


def _interval(metrics):
  interval = metrics['auc_interval']
  if interval['low'] is None:
    return 'one class alone: AUC is not defined'
  return (
    f'{metrics["protocol"]["normalisation"]}: {100 * interval["level"]:.0f} % interval of the AUC over videos '
    f'{100 * interval["low"]:.1f} to {100 * interval["high"]:.1f}'
  )


def _events(events):
  return [
    f'events: {events["true_positives"]} of {events["true_events"]} found, {events["false_alarms"]} false alarms '
    f'({events["false_alarms_per_hour"]:.0f} an hour), threshold {events["threshold"]:.2f} by training {events["protocol"]["threshold_rule"]}'
  ]


def _regions(regions):
  if not regions or 'rbdc' not in regions:
    return []
  clips = (
    ''
    if len(regions['videos']) == regions['of_videos']
    else f', over the {len(regions["videos"])} clips that have masks'
  )
  return [
    f'pixel AUC {100 * regions["pixel_auc"]:.1f}, RBDC {100 * regions["rbdc"]["flat"]:.1f}, TBDC {100 * regions["tbdc"]["flat"]:.1f} '
    f'(curves held flat to 1 false positive a frame{clips})'
  ]


def _cell(metrics):
  if metrics is None:
    return '-'
  return (
    'one class'
    if metrics['auc'] is None
    else f'{100 * metrics["auc"]:.1f} / {100 * metrics["eer"]:.1f}'
  )
