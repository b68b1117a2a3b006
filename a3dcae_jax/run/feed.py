"""What the training loop needs to know of the training data."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np


class Feed(NamedTuple):
  """Training examples and the update that takes them.

  Attributes:
    description: number and kind of the examples, for the user.
    input_pipeline: 'device_cached' or 'streaming'.
    step: update of one replica, (state, batch, *shared) -> (state, metrics).
    shared: arrays that every replica reads whole.
    batches: number of finished updates -> batches on the devices, without end.
  """

  description: str
  input_pipeline: str
  step: Callable[..., tuple[Any, dict[str, Any]]]
  shared: Sequence[np.ndarray]
  batches: Callable[[int], Iterator[Any]]
