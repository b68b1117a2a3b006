r"""Make a pseudo-anomaly validation set from a frame cache.

  python -m tools.validation.pseudo_cache CACHE NEW_CACHE
  python -m tools.validation.pseudo_cache CACHE NEW_CACHE --family=subtle --corrupt=turn
  python -m tools.validation.pseudo_cache CACHE NEW_CACHE --videos=01,03 --family=subtle \
    --types=cyclist,skater --copies=6 --mixed

The last training videos of CACHE become the test videos of NEW_CACHE, with pasted abnormal motion.
Settings are chosen by the results there, never by those on the real test videos:

  python -m a3dcae_jax.main --config=configs/ucsd_ped2.py:small \
    --config.data.cache=NEW_CACHE --workdir=runs/choice
"""

import argparse
import pathlib

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import FrameCache
from tools.validation.pseudo_anomalies import FAMILIES, Recipe, write_pseudo_cache


def main() -> None:
  """Run the command."""
  parser = _parser()
  arguments = parser.parse_args()
  recipe = Recipe(
    family=arguments.family,
    types=_names(arguments.types),
    copies=arguments.copies,
    mixed=arguments.mixed,
    corruption=arguments.corrupt,
    seed=arguments.seed,
  )
  holdout = _names(arguments.videos) or arguments.holdout
  try:
    cache = FrameCache.open(arguments.cache, splits=('train',))
    write_pseudo_cache(cache, arguments.new_cache, holdout=holdout, recipe=recipe)
  except (UserError, OSError) as error:
    parser.exit(2, f'error: {error}\n')


def _parser() -> argparse.ArgumentParser:
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  add = parser.add_argument
  add('cache', type=pathlib.Path)
  add('new_cache', type=pathlib.Path)
  add('--holdout', type=int, default=4, help='training videos that become test videos')
  add('--videos', default='', help='names of these videos, as in 12,16')
  add('--seed', type=int, default=0)
  add(
    '--family',
    choices=FAMILIES,
    default='coarse',
    help='family of pseudo-anomalies; subtle ones are hardly faster than walkers',
  )
  add(
    '--types',
    default='',
    help="types of the family, as in cyclist,slow_skater; empty: the family's default",
  )
  add('--copies', type=int, default=1, help='videos per type and held-out video')
  add(
    '--mixed',
    action='store_true',
    help='only videos with 15 to 85 %% abnormal frames',
  )
  add(
    '--corrupt',
    default='',
    help='add a corrupted copy of each video: light, shift, noise, bystander; '
    'or turn, for all in turn',
  )
  return parser


def _names(text: str) -> tuple[str, ...]:
  """Split names at commas."""
  return tuple(text.split(',')) if text else ()


if __name__ == '__main__':
  main()
