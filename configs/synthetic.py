r"""Synthetic footage, made by the project: no download, a few minutes on a CPU.

  python -m a3dcae_jax.main --config=configs/synthetic.py --workdir=runs/synthetic

Variants: quick (default; 2 cores, under 5 minutes), tiny (for tests).
"""

from configs import common

VARIANTS = {
  'quick': {
    'model.widths': (8, 16, 32, 32, 32),
    'model.discriminator_widths': (8, 16, 32),
    'model.discriminator_units': 32,
    'data.height': 64,
    'data.width': 64,
    'train.steps': 400,
    'train.batch_size': 8,
    'optimizer.learning_rate': 1e-3,
    'train.checkpoint_every_steps': 100,
  },
  'tiny': {
    'preset': 'tiny',
    'train.steps': 4,
    'train.batch_size': 4,
    'train.log_every_steps': 2,
    'train.checkpoint_every_steps': 2,
    'eval.max_train_windows': 8,
  },
}


def get_config(variant='quick'):
  config = common.get_config()
  config.data.name = 'synthetic'
  return common.with_variant(config, VARIANTS, variant)
