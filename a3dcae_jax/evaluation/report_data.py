"""Fills the report of a run: which frames are shown, which curves are drawn."""

import pathlib

import numpy as np

from a3dcae_jax.common.files import read_json
from a3dcae_jax.data.windows import window_at
from a3dcae_jax.evaluation.calibrate import cutting
from a3dcae_jax.evaluation.mean_images import network_mean
from a3dcae_jax.models.inputs import scale_rows
from a3dcae_jax.report.contents import Report, Strip, VideoScores
from a3dcae_jax.report.page import write_report
from a3dcae_jax.run.networks import frame_options
from a3dcae_jax.scoring.metrics import roc
from a3dcae_jax.training.hooks import read_metrics

STRIPS = 6


def write_page(
  config, workdir, cache, detector, metrics, scores, labels, baseline_scores, intervals
):
  """Writes `report.html`. scores, labels, intervals (detected): a list with one entry a video; baseline_scores: name -> the same."""
  workdir = pathlib.Path(workdir)
  videos = cache.test.videos
  shown = tuple(
    VideoScores(video.name, scores[i], labels[i] if labels else None, intervals[i])
    for i, video in enumerate(videos)
  )
  strips = {
    'Most abnormal frames': _extreme_frames(scores, most=True),
    'Most normal frames': _extreme_frames(scores, most=False),
  }
  if labels:
    strips['Worst mistakes: normal frames with the highest scores'] = _extreme_frames(
      scores, most=True, where=[video == 0 for video in labels]
    )
    strips['Worst mistakes: abnormal frames with the lowest scores'] = _extreme_frames(
      scores, most=False, where=[video == 1 for video in labels]
    )
  write_report(
    workdir / 'report.html',
    Report(
      title=f'{config.data.name} {config.variant}: abnormal events',
      metrics=metrics,
      videos=shown,
      rocs=_rocs(scores, labels, baseline_scores),
      losses=_losses(workdir),
      config=read_json(workdir / 'config.json'),
      provenance=read_json(workdir / 'provenance.json'),
      strips={
        title: _strips(config, cache, detector, scores, places) for title, places in strips.items()
      },
      feature_maps=_feature_maps(config, cache, detector, strips['Most abnormal frames'][0]),
    ),
  )


def _rocs(scores, labels, baseline_scores):
  if not labels or len(np.unique(np.concatenate(labels))) < 2:
    return {}
  truth = np.concatenate(labels)
  curves = {'this run': scores} | {
    f'baseline: {name.replace("_", " ")}': values for name, values in baseline_scores.items()
  }
  return {name: roc(np.concatenate(values), truth) for name, values in curves.items()}


def _losses(workdir):
  path = workdir / 'metrics.jsonl'
  rows = read_metrics(path) if path.exists() else []
  names = {
    'rec': 'reconstruction loss, mean squared error (Fig. 3a)',
    'adv': 'adversarial loss, 2 ln 2 = 1.386 when confused (Fig. 3b)',
  }
  return {
    title: ([row['step'] for row in rows], [row[name] for row in rows])
    for name, title in names.items()
    if rows and name in rows[0]
  }


def _extreme_frames(scores, *, most, where=None):
  """(video, frame) of the highest or lowest score of each video, the most extreme videos first; `where` (bool [N_v]) limits the frames."""
  worst = -np.inf if most else np.inf
  allowed = [np.where(where[i], video, worst) if where else video for i, video in enumerate(scores)]
  frames = [
    (i, int(np.argmax(video) if most else np.argmin(video))) for i, video in enumerate(allowed)
  ]
  frames = [(i, frame) for i, frame in frames if np.isfinite(allowed[i][frame])]
  return sorted(frames, key=lambda at: scores[at[0]][at[1]], reverse=most)[:STRIPS]


def _window_at(config, cache, place):
  """(uint8 clip [1, T, H, W], the frame's place in it) of the back-to-back window that has frame `place` (video, frame)."""
  rows, at = window_at(
    cache.test.videos[place[0]],
    place[1],
    window=config.clips.window,
    stride=cutting(config)['stride'],
  )
  return np.asarray(cache.test.frames[rows])[None], at


def _feature_maps(config, cache, detector, place):
  """Layer -> (caption, [h, w] in [0, 1]): the channel of Conv1 and Conv2 that responds most at one frame (Fig. 5)."""
  if detector.feature_maps is None:
    return {}
  clip, at = _window_at(config, cache, place)
  shown = {}
  for layer in ('conv1', 'conv2'):
    maps = np.asarray(
      detector.feature_maps(clip, _scene(cache, place[0]))[f'{layer}_map'], np.float32
    )[0]
    response = np.abs(maps[at * maps.shape[0] // clip.shape[1]])
    channel = int(response.std((0, 1)).argmax())
    shown[layer] = (f'{layer}, channel {channel}', response[..., channel])
  return shown


def _strips(config, cache, detector, scores, places):
  strips = []
  for video, frame in places:
    window, at = _window_at(config, cache, (video, frame))
    scene = _scene(cache, video)
    caption = (
      f'video {cache.test.videos[video].name}, frame {frame}, score {scores[video][frame]:.3g}'
    )
    if detector.reconstruct is None:
      strips.append(
        Strip(
          caption,
          window[0, at] / np.float32(255),
          None,
          np.asarray(detector.errors(window, scene)[1])[0, at],
        )
      )
      continue
    clip, recon = (
      np.asarray(array)[0, at, :, :, 0] for array in detector.reconstruct(window, scene)
    )
    mean_image = (
      network_mean(config, cache) if scene is None else network_mean(config, cache)[scene[0]]
    )
    mean_image = scale_rows(mean_image, frame_options(config)['row_scale'])
    strips.append(Strip(caption, clip + mean_image, recon + mean_image, np.square(clip - recon)))
  return tuple(strips)


def _scene(cache, video):
  """int32 [1] for the detector, or None where there is one mean image for all."""
  return cache.scene_of(cache.test, np.asarray([cache.test.videos[video].first]))
