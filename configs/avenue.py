r"""CUHK Avenue: an avenue on a campus; running, throwing, loitering and the wrong direction are abnormal.

  python -m a3dcae_jax.main --config=configs/avenue.py --config.data.root=AVENUE --workdir=runs/avenue

Label sets: vollabel (default; the authors' masks) and hasan (--config.data.label_set=hasan). They differ on 441 of 15,324 frames.

Variants: paper (default; Fig. 2 at 224x224, for accelerators), small (6 layers, 112x112, for CPUs), flow (small on optical flow, to be
added to it), best (beyond the paper, 112x112), tiny (for tests).
"""

from configs import common

VARIANTS = common.SIZES


def get_config(variant='paper'):
  config = common.get_config()
  config.data.name = 'avenue'
  config.unlock()
  config.data.options = {
    'hasan_labels': ''
  }  # file of Hasan's intervals or frame labels, for data.label_set=hasan
  config.lock()
  return common.with_variant(config, VARIANTS, variant)
