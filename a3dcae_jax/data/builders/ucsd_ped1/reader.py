"""UCSD Ped1: the authors' archive or the community's copy."""

import functools

from a3dcae_jax.data.layouts import ucsd
from a3dcae_jax.data.published import Published

LABEL_SETS = ucsd.LABEL_SETS
TEST_FRAMES = (200,) * 36
# Abnormal frames of each test clip: the intervals of the authors' `UCSDped1.m`, 4,045 together.
# fmt: off
_ABNORMAL = (
  93, 126, 110, 138, 147, 191, 175, 94, 48, 140, 96, 71, 156, 200, 63, 78, 47, 67, 75, 131, 170,
  92, 158, 122, 96, 68, 113, 96, 84, 26, 180, 103, 161, 121, 115, 94,
)
# fmt: on
PUBLISHED = Published(
  train=(200,) * 34,
  test=TEST_FRAMES,
  # The other label files are meant to say the same.
  abnormal=dict.fromkeys(LABEL_SETS, _ABNORMAL),
)

layout = functools.partial(ucsd.layout, name='UCSDped1')
label_sets = functools.partial(ucsd.label_sets, name='UCSDped1')
notes = functools.partial(ucsd.notes, name='UCSDped1', lengths=TEST_FRAMES)
videos = functools.partial(ucsd.videos, name='UCSDped1', lengths=TEST_FRAMES)
