"""UCSD Ped1: the community layout, labels from `UCSDped1.m` (official) or `ped1.mat` (community)."""

import functools

from a3dcae_jax.data.layouts import ucsd

LABEL_SETS = ucsd.LABEL_SETS
PUBLISHED_FRAMES = {'train': (200,) * 34, 'test': (200,) * 36}
layout = ucsd.layout
videos = functools.partial(ucsd.videos, script='UCSDped1.m', mat='ped1.mat')
