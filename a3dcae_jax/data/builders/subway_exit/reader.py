"""Subway exit: one long video, cut in two as the options say."""

import functools

from a3dcae_jax.data.layouts import subway
from a3dcae_jax.data.published import Published

LABEL_SETS = subway.LABEL_SETS
HOW_TO_GET = subway.HOW_TO_GET
PUBLISHED = Published(whole=64900)

layout = subway.layout
# One public annotation starts its test part at frame 22500. Others differ, so both are options.
videos = functools.partial(subway.videos, train_frames=22500, test_start=22500)
