"""Frame labels of all test clips in one row (`frame_labels_NAME.npy`, as the public baselines ship them)."""

import numpy as np

from a3dcae_jax.common.errors import UserError


def read_rows(path, lengths):
  """A row of 0/1, cut into clips of `lengths` frames -> list of uint8 [N]. Shapes [N] and [1, N] are both read.

  Raises: UserError where the row is of another length than all clips together, or holds anything but 0 and 1.
  """
  try:
    row = np.load(path, allow_pickle=False).ravel()
  except (OSError, ValueError) as error:
    raise UserError(f'{path} cannot be read: {error}') from None
  if len(row) != sum(lengths):
    raise UserError(
      f'{path}: {len(row)} labels, the {len(lengths)} test videos have {sum(lengths)} frames'
    )
  if not np.isin(row, (0, 1)).all():
    raise UserError(f'{path}: labels must be 0 or 1')
  return [part.astype(np.uint8) for part in np.split(row, np.cumsum(lengths)[:-1])]
