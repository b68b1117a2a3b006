r"""Your own footage: ROOT/training/*, optionally ROOT/testing/* and ROOT/labels.csv; or videos that are cut in two.

  python -m a3dcae_jax.main --config=configs/video_folder.py --config.data.root=ROOT --workdir=runs/video_folder

A single video, its first 70 % for training: --config.data.root=FILE.avi --config.data.train_fraction=0.7.

Variants: paper (default; Fig. 2 at 224x224, for accelerators), small (6 layers, 112x112, for CPUs), flow (small on optical flow, to be
added to it), best (beyond the paper, 112x112), tiny (for tests).
"""

from configs import common

VARIANTS = common.SIZES


def get_config(variant='paper'):
  config = common.get_config()
  config.data.name = 'video_folder'
  config.unlock()
  config.data.options = {
    'labels': ''
  }  # file of intervals video,start,end; '' looks for labels.csv in the root
  config.lock()
  return common.with_variant(config, VARIANTS, variant)
