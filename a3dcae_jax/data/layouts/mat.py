"""One variable of a MATLAB file."""

import scipy.io

from a3dcae_jax.common.errors import UserError


def read_cells(path, variable, what):
  """The entries of a cell array, as a list; `what` says in the error what was looked for."""
  try:
    return list(scipy.io.loadmat(path)[variable].ravel())
  except Exception as error:  # whatever scipy's parser trips over in a file that is cut off or another's
    raise UserError(f'{path} holds no {what} named {variable}: {error}') from None
