"""UCSD Ped2: the community layout, labels from `UCSDped2.m` (official) or `ped2.mat` (community)."""

import functools

from a3dcae_jax.data.layouts import ucsd

LABEL_SETS = ucsd.LABEL_SETS
PUBLISHED_FRAMES = {'test': (180, 180, 150, 180, 150, 180, 180, 180, 120, 150, 180, 180)}
layout = ucsd.layout
videos = functools.partial(ucsd.videos, script='UCSDped2.m', mat='ped2.mat')
