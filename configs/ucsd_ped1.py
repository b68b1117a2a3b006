r"""UCSD Ped1: a walkway seen from its end; cyclists, skaters, carts and people on the grass are abnormal.

  python -m a3dcae_jax.main --config=configs/ucsd_ped1.py --config.data.root=PED1 --workdir=runs/ped1

Variants: paper (default; Fig. 2 at 224x224, for accelerators), small (6 layers, 112x112, for CPUs), flow (small on optical flow, to be
added to it; made videos with this perspective lose by it), best (beyond the paper, 112x112), tiny (for tests).
"""

from configs import common

VARIANTS = common.SIZES


def get_config(variant='paper'):
  config = common.get_config()
  config.data.name = 'ucsd_ped1'
  config.eval.frames_per_s = 10.0
  return common.with_variant(config, VARIANTS, variant)
