r"""UCSD Ped2: a pedestrian walkway; cyclists, skaters and a cart are abnormal.

  python -m a3dcae_jax.main --config=configs/ucsd_ped2.py --config.data.root=PED2 --workdir=runs/ped2

Variants: paper (default; Fig. 2 at 224x224, for accelerators), small (6 layers, 112x112, for CPUs), flow (small on optical flow, to be
added to it), best (beyond the paper, 112x112), tiny (for tests).
"""

from configs import common

VARIANTS = common.SIZES


def get_config(variant='paper'):
  config = common.get_config()
  config.data.name = 'ucsd_ped2'
  config.eval.frames_per_s = 10.0
  return common.with_variant(config, VARIANTS, variant)
