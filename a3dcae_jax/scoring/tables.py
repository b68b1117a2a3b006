"""`scores.csv`: one row a frame, whose label names the label set that it is of."""

import csv

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_write

COLUMNS = ('video', 'frame', 'error', 'score', 'label', 'label_set')


def write_scores(path, names, errors, scores, labels=None, label_set=''):
  """Writes a row for each frame, in order; `label` and `label_set` are empty where there are no labels.

  The label set is a column, not a comment above the header, so that every reader of CSV finds it by name and the file can be cut and joined.

  Args: names: of the videos. errors, scores: lists of float [N_v]. labels: list of 0/1 [N_v] or None. label_set: whose labels these are.
  """
  with atomic_write(path) as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(COLUMNS)
    for index, name in enumerate(names):
      video_labels = labels[index] if labels is not None else [''] * len(errors[index])
      label_set = label_set if labels is not None else ''
      rows = zip(errors[index], scores[index], video_labels, strict=True)
      writer.writerows(
        [name, frame, f'{error:.9g}', f'{score:.9g}', label, label_set]
        for frame, (error, score, label) in enumerate(rows)
      )


def read_scores(path):
  """(names, errors, scores, labels or None) of a `scores.csv`, one entry a video."""
  with open(path, newline='', encoding='utf-8') as file:
    rows = list(csv.reader(file))
  if not rows or tuple(rows[0]) not in (
    COLUMNS,
    COLUMNS[:5],
  ):  # five: from before the label set was written
    raise UserError(f'{path}: the first line must be {",".join(COLUMNS)}')
  videos = {}
  for row in rows[1:]:
    videos.setdefault(row[0], []).append(row)
  errors, scores = (
    [np.asarray([float(row[column]) for row in video]) for video in videos.values()]
    for column in (2, 3)
  )
  labelled = all(row[4] for row in rows[1:])
  labels = (
    [np.asarray([int(row[4]) for row in video], np.uint8) for video in videos.values()]
    if labelled
    else None
  )
  return list(videos), errors, scores, labels
