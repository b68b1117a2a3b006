"""`scores.csv`: one row per frame."""

import csv
import pathlib
from collections.abc import Sequence

import numpy as np

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_write

COLUMNS = ('video', 'frame', 'error', 'score', 'label', 'label_set')


def write_scores(
  path: pathlib.Path | str,
  names: Sequence[str],
  errors: Sequence[np.ndarray],
  scores: Sequence[np.ndarray],
  labels: Sequence[np.ndarray] | None = None,
  label_set: str = '',
) -> None:
  """Write one row for each frame, in order.

  The label set is a column and not a comment above the header, so that every reader of CSV finds it
  by name, and files can be split and joined. Without labels, it and `label` are empty.

  Args:
    path: path of the file.
    names: names of the videos.
    errors: one float [N_v] per video.
    scores: one float [N_v] per video.
    labels: one 0/1 [N_v] per video, or None.
    label_set: name of the label set.
  """
  with atomic_write(path) as file:
    writer = csv.writer(file, lineterminator='\n')
    writer.writerow(COLUMNS)
    for index, name in enumerate(names):
      video_errors = errors[index]
      if labels is None:
        video_labels = [''] * len(video_errors)
        label_set = ''
      else:
        video_labels = labels[index]
      columns = zip(video_errors, scores[index], video_labels, strict=True)
      for frame, (error, score, label) in enumerate(columns):
        row = [name, frame, f'{error:.9g}', f'{score:.9g}', label, label_set]
        writer.writerow(row)


def read_scores(
  path: pathlib.Path | str,
) -> tuple[list[str], list[np.ndarray], list[np.ndarray], list[np.ndarray] | None]:
  """Read a `scores.csv`.

  Returns:
    Names, errors, scores and labels (or None), one entry per video.

  Raises:
    UserError: if the columns differ.
  """
  with open(path, newline='', encoding='utf-8') as file:
    reader = csv.DictReader(file)
    rows = list(reader)
  if tuple(reader.fieldnames or ()) != COLUMNS:
    raise UserError(f'{path}: the first line must be {",".join(COLUMNS)}')
  videos = {}
  for row in rows:
    videos.setdefault(row['video'], []).append(row)
  errors = _column(videos, 'error', float)
  scores = _column(videos, 'score', float)
  labels = None
  if all(row['label'] for row in rows):
    labels = _column(videos, 'label', np.uint8)
  return list(videos), errors, scores, labels


def _column(videos: dict[str, list[dict[str, str]]], name: str, dtype: type) -> list[np.ndarray]:
  """Return one column as one array per video."""
  arrays = []
  for rows in videos.values():
    texts = np.asarray([row[name] for row in rows])
    arrays.append(texts.astype(dtype))
  return arrays
