"""Subway entrance: one long video; lengths and ground truth by `data.options`."""

import functools

from a3dcae_jax.data.layouts import subway
from a3dcae_jax.data.published import Published

LABEL_SETS = subway.LABEL_SETS
PUBLISHED = Published(whole=144249)
layout = subway.layout
# One public annotation starts its test part at frame 76453; others differ, so both are options.
videos = functools.partial(subway.videos, train_frames=76453, test_start=76453)
