"""Fills the report of a run: which frames are shown, which curves are drawn."""

import pathlib

import numpy as np

from a3dcae_jax.common.files import read_json
from a3dcae_jax.report.contents import Report, Strip, VideoScores
from a3dcae_jax.report.page import write_report
from a3dcae_jax.scoring.metrics import roc
from a3dcae_jax.training.hooks import read_metrics

STRIPS = 6


def write_page(config, workdir, store, detector, metrics, scores, labels, floor_scores):
  """Writes `report.html`. scores, labels: a list with one entry a video; floor_scores: name -> the same."""
  workdir = pathlib.Path(workdir)
  videos = store.test.videos
  shown = tuple(VideoScores(video.name, scores[i], labels[i] if labels else None) for i, video in enumerate(videos))
  abnormal, normal = _extreme_frames(scores, most=True), _extreme_frames(scores, most=False)
  write_report(workdir / 'report.html', Report(
      title=f'{config.data.name} {config.variant}: abnormal events', metrics=metrics, videos=shown, rocs=_rocs(scores, labels, floor_scores),
      losses=_losses(workdir), config=read_json(workdir / 'config.json'), provenance=read_json(workdir / 'provenance.json'),
      abnormal=_strips(config, store, detector, scores, abnormal), normal=_strips(config, store, detector, scores, normal)))


def _rocs(scores, labels, floor_scores):
  if not labels or len(np.unique(np.concatenate(labels))) < 2:
    return {}
  truth = np.concatenate(labels)
  curves = {'this run': scores} | {f'floor: {name.replace("_", " ")}': values for name, values in floor_scores.items()}
  return {name: roc(np.concatenate(values), truth) for name, values in curves.items()}


def _losses(workdir):
  path = workdir / 'metrics.jsonl'
  rows = read_metrics(path) if path.exists() else []
  names = {'rec': 'reconstruction loss, mean squared error (Fig. 3a)', 'adv': 'adversarial loss, 2 ln 2 = 1.386 when confused (Fig. 3b)'}
  return {title: ([row['step'] for row in rows], [row[name] for row in rows]) for name, title in names.items() if rows and name in rows[0]}


def _extreme_frames(scores, *, most):
  """(video, frame) of the highest or lowest score of each video, the most extreme videos first."""
  choose = np.argmax if most else np.argmin
  frames = [(index, int(choose(video))) for index, video in enumerate(scores)]
  return sorted(frames, key=lambda at: scores[at[0]][at[1]], reverse=most)[:STRIPS]


def _strips(config, store, detector, scores, places):
  window, mean_image = config.clips.window, store.mean_image()
  strips = []
  for index, frame in places:
    video = store.test.videos[index]
    start = min(frame // window * window, video.num_frames - window)
    rows = video.first + start + np.arange(window)
    clips, recon = detector.reconstruct(store.test.frames[rows][None])
    clip, again = (np.asarray(array)[0, frame - start, :, :, 0] for array in (clips, recon))
    strips.append(Strip(f'video {video.name}, frame {frame}, score {scores[index][frame]:.3g}', clip + mean_image, again + mean_image,
                        np.square(clip - again)))
  return tuple(strips)
