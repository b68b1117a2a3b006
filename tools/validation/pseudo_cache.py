"""Makes a validation cache: a frame cache whose last training videos have become its test videos, with abnormal motion made in them.

  python -m tools.validation.pseudo_cache CACHE NEW_CACHE [--holdout=4] [--seed=0] [--movers=riders] [--disturb=turn]
  python -m tools.validation.pseudo_cache CACHE NEW_CACHE --videos=01,03 --movers=riders --kinds=cyclist,skater --copies=6 --mixed
  python -m a3dcae_jax.main --config=configs/ucsd_ped2.py:small --config.data.cache=NEW_CACHE --workdir=runs/choice

Settings are chosen by what they score there, never on the real test videos.
"""

import argparse
import pathlib

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import FrameCache
from tools.validation.pseudo_anomalies import MOVERS, write_pseudo_cache


def main():
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('cache', type=pathlib.Path)
  parser.add_argument('new_cache', type=pathlib.Path)
  parser.add_argument(
    '--holdout', type=int, default=4, help='training videos that become test videos'
  )
  parser.add_argument('--videos', default='', help='their names instead, as in 12,16')
  parser.add_argument('--seed', type=int, default=0)
  parser.add_argument(
    '--movers',
    choices=MOVERS,
    default='fast',
    help='what is made: fast, or riders, hardly faster than walkers',
  )
  parser.add_argument(
    '--kinds',
    default='',
    help='the kinds of movers that are made, as in cyclist,skater or slow_cyclist; the usual ones if empty',
  )
  parser.add_argument(
    '--copies', type=int, default=1, help='made videos of each kind of each held-out video'
  )
  parser.add_argument(
    '--mixed',
    action='store_true',
    help='only draws of which 15 to 85 %% of the frames are abnormal',
  )
  parser.add_argument(
    '--disturb',
    default='',
    help='each made video also as on another day: light, shift, noise, bystander, or each in turn',
  )
  arguments = parser.parse_args()
  try:
    write_pseudo_cache(
      FrameCache.open(arguments.cache),
      arguments.new_cache,
      holdout=arguments.videos.split(',') if arguments.videos else arguments.holdout,
      seed=arguments.seed,
      movers=arguments.movers,
      disturb=arguments.disturb,
      copies=arguments.copies,
      mixed=arguments.mixed,
      kinds=tuple(arguments.kinds.split(',')) if arguments.kinds else (),
    )
  except (UserError, OSError) as error:
    parser.exit(2, f'error: {error}\n')


if __name__ == '__main__':
  main()
