"""The settings of a run: fields with defaults, named variants, one check.

    from a3dcae_jax.config import checked, make_config

    config = make_config('avenue', 'small,without_gan')   # an ml_collections.ConfigDict, locked
    settings = checked(config)                            # a `Config`, or a UserError

A config file in `a3dcae_jax/configs/` is one call of `make_config`. Commands turn it into a
`Config` once, with `checked`; below the commands each function takes the subtree that it needs.
"""

from a3dcae_jax.config.check import checked
from a3dcae_jax.config.fields import Config
from a3dcae_jax.config.variants import VARIANTS, make_config

__all__ = ['Config', 'VARIANTS', 'checked', 'make_config']
