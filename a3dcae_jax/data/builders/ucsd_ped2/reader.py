"""UCSD Ped2: the authors' archive or the community's copy."""

import functools

from a3dcae_jax.data.layouts import ucsd
from a3dcae_jax.data.published import Published

LABEL_SETS = ucsd.LABEL_SETS
TEST_FRAMES = (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180)
# Abnormal frames of each test clip: the intervals of the authors' `UCSDped2.m`, 1,648 together.
_ABNORMAL = (120, 86, 146, 150, 129, 159, 135, 180, 120, 150, 180, 93)
PUBLISHED = Published(
  train=(120, 150, 150, 180, 180, 150, 150, 120, 180, 180, 180, 180, 180, 150, 150, 150),
  test=TEST_FRAMES,
  # The other label files are meant to say the same.
  abnormal=dict.fromkeys(LABEL_SETS, _ABNORMAL),
)

layout = functools.partial(ucsd.layout, name='UCSDped2')
label_sets = functools.partial(ucsd.label_sets, name='UCSDped2')
notes = functools.partial(ucsd.notes, name='UCSDped2', lengths=TEST_FRAMES)
videos = functools.partial(ucsd.videos, name='UCSDped2', lengths=TEST_FRAMES)
