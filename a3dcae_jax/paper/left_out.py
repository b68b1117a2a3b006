"""Parts of the paper that one call leaves out: other data sets, other sizes."""

import pathlib

from a3dcae_jax import configs
from a3dcae_jax.config import fields
from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.paper.sheets import Sheet
from a3dcae_jax.scoring.paper_figures import SETS, TABLES


def left_out_sheet(settings: fields.Config) -> Sheet:
  """Return what of the paper is left out with a config, each part with its command."""
  lines = [['not made here', 'tables', 'needs', 'command']]
  size = PRESETS['paper'].size_px
  own = settings.data.name
  if (settings.data.height, settings.data.width) != (size, size) and own in configs.names():
    needs = 'an accelerator: 20,000 updates of each row'
    lines.append([f'{own} at {size}x{size}, as printed', 'all', needs, _command(own)])
  for name in SETS:
    if name != own:
      lines.append([name, ', '.join(_tables_on(name)), _footage(name), _command(name)])
  return Sheet(name='not_made', title='What was not made', cells=lines)


def _tables_on(data_set: str) -> list[str]:
  """Return the numbers of the tables that have a column for a data set."""
  return [
    number for number, rows in TABLES.items() if any(data_set in row for row in rows.values())
  ]


def _footage(name: str) -> str:
  folder = pathlib.Path('data') / name
  if folder.is_dir() and any(folder.iterdir()):
    return f'a call of its own; {folder} is there'
  return f'footage in {folder}'


def _command(name: str) -> str:
  return (
    f'python -m a3dcae_jax.experiments --table=all --config=configs/{name}.py --seeds=0,1,2 '
    f'--out=runs/paper_{name}'
  )
