"""Synthetic videos, drawn from a seed: no download, a few minutes on a CPU.

python -m a3dcae_jax.main --config=configs/synthetic.py
"""

from a3dcae_jax.config import make_config


def get_config(variants='quick'):
  return make_config('synthetic', variants, values={'data.root': ''})
