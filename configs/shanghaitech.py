r"""ShanghaiTech Campus: 13 cameras; bicycles, chases, fights and more are abnormal.

  python -m a3dcae_jax.main --config=configs/shanghaitech.py --config.data.root=SHANGHAITECH --workdir=runs/shanghaitech

Variants: paper (default; Fig. 2 at 224x224, for accelerators), small (6 layers, 112x112, for CPUs), flow (small on optical flow, to be
added to it), best (beyond the paper, 112x112), tiny (for tests).
"""

from configs import common

VARIANTS = common.SIZES


def get_config(variant='paper'):
  config = common.get_config()
  config.data.name = 'shanghaitech'
  return common.with_variant(config, VARIANTS, variant)
