r"""Subway entrance: one long video; wrong direction, no payment, loitering are abnormal.

  python -m a3dcae_jax.main --config=configs/subway_entrance.py --config.data.root=SUBWAY --workdir=runs/subway_entrance

There is no single public ground truth: give yours as --config.data.options.labels=FILE (.csv, .json or .txt).

Variants: paper (default; Fig. 2 at 224x224, for accelerators), small (6 layers, 112x112, for CPUs), flow (small on optical flow, to be
added to it), best (beyond the paper, 112x112), tiny (for tests).
"""

from configs import common

VARIANTS = common.SIZES


def get_config(variant='paper'):
  config = common.get_config()
  config.data.name = 'subway_entrance'
  config.unlock()
  config.data.options = {
    'train_frames': 76453,
    'test_start': 76453,
    'labels': '',
  }  # of the one long video; see the builder's README
  config.lock()
  return common.with_variant(config, VARIANTS, variant)
