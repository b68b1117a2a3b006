r"""UCSD Ped1: a walkway seen from its end; cyclists, skaters, carts and people on the grass are abnormal.

  python -m a3dcae_jax.main --config=configs/ucsd_ped1.py --config.data.root=PED1 --workdir=runs/ped1

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
  config.data.name = 'ucsd_ped1'
  return common.with_variant(config, VARIANTS, variant)
