"""Each table and figure of the paper as data: its rows, their runs, its claims."""

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.scoring import paper_figures
from a3dcae_jax.scoring.paper_figures import OURS

BASE = 'base'
"""Name of the recipe without changes: the config as the user gives it."""


class Recipe(NamedTuple):
  """How the runs of a row differ from the config that the user gives.

  Attributes:
    variants: names of variants that follow the user's own.
    alone: whether they replace the user's own variants.
    sum_of: names of recipes whose errors are added instead of training anything.
  """

  variants: tuple[str, ...] = ()
  alone: bool = False
  sum_of: tuple[str, ...] = ()


RECIPES: dict[str, Recipe] = {
  BASE: Recipe(),
  'without_3d_conv': Recipe(('without_3d_conv',)),
  'without_3d_pool': Recipe(('without_3d_pool',)),
  'without_gan': Recipe(('without_gan',)),
  'without_recorded_locations': Recipe(('without_recorded_locations',)),
  'noise_none': Recipe(('noise_none',)),
  'noise_salt_and_pepper': Recipe(('noise_salt_and_pepper',)),
  'noise_poisson': Recipe(('noise_poisson',)),
  'ten_layers': Recipe(),
  'six_layers': Recipe(('six_layers',)),
  'conv_ae': Recipe(('conv_ae',)),
  'convlstm_ae': Recipe(('convlstm_ae',)),
  'plain_3d': Recipe(('plain_3d',)),
  'objects': Recipe(('objects',), alone=True),
  'best': Recipe(('best',), alone=True),
  'flow': Recipe(),
  'frames_and_flow': Recipe(sum_of=(BASE, 'flow')),
}


def row_variants(recipe: str, variants: Sequence[str]) -> tuple[str, ...]:
  """Return the variants of a recipe's runs.

  Args:
    recipe: a name of `RECIPES`.
    variants: variants that the user gives.
  """
  own = RECIPES[recipe].variants
  if RECIPES[recipe].alone:
    return own
  if recipe == 'flow' and 'small' in variants:
    own = ('flow',)  # the tuned recipe on flow, at the size of `small`
  return (*variants, *own)


def row_fields(recipe: str, base: fields.Config) -> dict[str, Any]:
  """Return fields of a recipe's runs that depend on the user's config, by name.

  Args:
    recipe: a name of `RECIPES`.
    base: the user's config.
  """
  if recipe == 'flow':
    is_small = 'small' in base.variant.split(',')
    return {} if is_small else {'input.kind': 'flow', 'input.target_rms': 0.0}
  widths = tuple(base.model.widths)
  if recipe == 'ten_layers' and len(widths) == 3:
    return {'model.widths': (*widths, 2 * widths[-1], 2 * widths[-1])}
  if recipe == 'objects':  # the size and the budget of the other rows
    return {
      'model.widths': widths[:3],
      'model.discriminator_widths': tuple(base.model.discriminator_widths),
      'model.discriminator_units': base.model.discriminator_units,
      'train.steps': base.train.steps,
    }
  return {}


class Claim(NamedTuple):
  """An ordering of the paper: one row has a higher AUC or score gap than another.

  In Table X the paper's own counts say which row finds more events or has fewer false alarms.
  """

  better: str
  worse: str


class Table(NamedTuple):
  """A table or figure that can be asked for.

  Attributes:
    title: what it shows.
    kind: how it is collected: 'results', 'speed', 'events', or the name of a figure.
    rows: label -> name of its recipe. Labels that the paper prints are spelt as there.
    claims: its orderings.
  """

  title: str
  kind: str
  rows: Mapping[str, str]
  claims: tuple[Claim, ...] = ()


_COMPARED = {
  'Hasan et al.': 'conv_ae',
  'Chong and Tay': 'convlstm_ae',
  'plain 3D auto-encoder (not in the paper)': 'plain_3d',
  OURS: BASE,
}
_OURS_BETTER = (Claim(OURS, 'Hasan et al.'), Claim(OURS, 'Chong and Tay'))
# Tables I to IV differ in the data sets for which the paper has figures, not in the rows.
_COMPARISON = Table(
  'Comparison with other systems',
  'results',
  _COMPARED,
  _OURS_BETTER,
)


def _better(best: str, others: Sequence[str]) -> tuple[Claim, ...]:
  return tuple(Claim(best, other) for other in others)


_ABLATIONS = {
  'w/o 3D convolution': 'without_3d_conv',
  'w/o 3D pooling': 'without_3d_pool',
  'w/o GAN': 'without_gan',
  'w/o recording locations': 'without_recorded_locations',
}
_FLOW_ROWS = {'Ours (RGB only)': BASE, 'Ours (RGB+optical-flow)': 'frames_and_flow'}

TABLES: dict[str, Table] = {
  'I': _COMPARISON,
  'II': _COMPARISON,
  'III': _COMPARISON,
  'IV': _COMPARISON,
  'V': Table(
    'Components of the method',
    'results',
    {**_ABLATIONS, OURS: BASE},
    _better(OURS, tuple(_ABLATIONS)),
  ),
  'VI': Table(
    'Noise in training',
    'results',
    {
      'w/o noise': 'noise_none',
      'salt-and-pepper noise': 'noise_salt_and_pepper',
      'Poisson noise': 'noise_poisson',
      'Gaussian noise': BASE,
    },
    (
      *_better('Gaussian noise', ('w/o noise', 'salt-and-pepper noise', 'Poisson noise')),
      *_better('salt-and-pepper noise', ('w/o noise', 'Poisson noise')),
    ),
  ),
  'VII': Table(
    'Speed',
    'speed',
    {
      'Conv-AE': 'conv_ae',
      'ConvLSTM-AE': 'convlstm_ae',
      'Ours (10 layers)': 'ten_layers',
      'Ours (6 layers)': 'six_layers',
    },
    (
      Claim('Ours (10 layers)', 'Ours (6 layers)'),
      *_better('Ours (6 layers)', ('ConvLSTM-AE', 'Conv-AE')),
    ),
  ),
  'VIII': Table(
    'Object detection',
    'results',
    {
      'Ours (w/o object detection)': BASE,
      'Ours (object detection)': 'objects',
      'best (not in the paper)': 'best',
    },
    _better('Ours (object detection)', ('Ours (w/o object detection)',)),
  ),
  'IX': Table(
    'Optical flow',
    'results',
    {'optical flow alone (not in the paper)': 'flow', **_FLOW_ROWS},
    _better('Ours (RGB+optical-flow)', ('Ours (RGB only)',)),
  ),
  'X': Table('Event counts', 'events', _COMPARED, _OURS_BETTER),
  'fig3': Table('Losses while training', 'losses', {OURS: BASE}),
  'fig4': Table(
    'Score gap',
    'gaps',
    {'without GAN': 'without_gan', 'with GAN': BASE},
    (Claim('with GAN', 'without GAN'),),
  ),
  'fig5': Table('Feature maps', 'feature_maps', {'ConvLSTM-AE': 'convlstm_ae', OURS: BASE}),
  'fig6': Table('Examples', 'examples', {OURS: BASE}),
  'fig7': Table('Examples', 'examples', {OURS: BASE}),
  'fig8': Table('Examples', 'examples', {OURS: BASE}),
  'theory': Table('Theorems 1 to 3, checked numerically', 'theory', {}),
  'complexity': Table('Time and space complexity', 'complexity', {}),
}

_EXAMPLES = {'avenue': 'fig6', 'subway_entrance': 'fig7', 'subway_exit': 'fig8'}

ALL = 'all'


def asked_for(names: Sequence[str], data_set: str) -> list[str]:
  """Return the names of tables that the user asks for, each once.

  Args:
    names: names of tables, or 'all'.
    data_set: name of the data set, by which 'all' chooses among tables that differ only in it.

  Raises:
    UserError: for an unknown name, or none.
  """
  if not names:
    raise UserError(f'--table is missing, as in --table=V; {_known()}')
  found = []
  for name in names:
    if name == ALL:
      found += _all_tables(data_set)
    elif name in TABLES:
      found.append(name)
    else:
      near = difflib.get_close_matches(name, (*TABLES, ALL), n=1, cutoff=0.5)
      hint = f'did you mean {near[0]!r}? ' if near else ''
      raise UserError(f'--table (={name}): {hint}{_known()}')
  return list(dict.fromkeys(found))


def printed(number: str) -> Mapping[str, Mapping[str, paper_figures.Pair]]:
  """Return what the paper prints in a table: label -> data set -> figures."""
  return paper_figures.TABLES.get(number, {})


def _known() -> str:
  return f'known are {", ".join(TABLES)} and {ALL}'


def _all_tables(data_set: str) -> list[str]:
  """Return all tables but those of other data sets."""
  result = paper_figures.result_table(data_set) or 'I'
  of_one_set = {*paper_figures.RESULT_TABLES, *_EXAMPLES.values()}
  own = {result, _EXAMPLES.get(data_set, 'fig6')}
  return [name for name in TABLES if name in own or name not in of_one_set]
