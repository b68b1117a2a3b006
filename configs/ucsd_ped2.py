r"""UCSD Ped2: a pedestrian walkway; cyclists, skaters and a cart are abnormal.

  python -m a3dcae_jax.main --config=configs/ucsd_ped2.py --config.data.root=PED2 --workdir=runs/ped2

Variants: paper (default; Fig. 2 at 224x224, for accelerators), small (112x112, for CPUs), tiny (for tests).
"""

from configs import common

VARIANTS = {
    'paper': {'preset': 'paper'},
    'small': {'preset': 'small', 'train.steps': 3_000, 'train.batch_size': 4, 'optimizer.learning_rate': 1e-3, 'train.checkpoint_every_steps': 200},
    'tiny': {'preset': 'tiny', 'train.steps': 4, 'train.batch_size': 4, 'train.log_every_steps': 2, 'train.checkpoint_every_steps': 2},
}


def get_config(variant='paper'):
  config = common.get_config()
  config.data.name = 'ucsd_ped2'
  return common.with_variant(config, VARIANTS, variant)
