"""Measure how long a run takes from the command to its first update and scores.

Each run is a process of its own, on the synthetic set, whose cache is made before. It has one
update. A cold run compiles everything; a warm one finds the programs that the cold one kept.
"""

import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from a3dcae_jax.common.errors import UserError, last_message

VARIANTS = {'synthetic': 'quick', 'small': 'small', 'best': 'best'}
"""Name in the table -> variant of the synthetic set."""

_CONFIG = """
from a3dcae_jax.config import make_config


def get_config(variants='quick'):
  options = {'num_videos': 2, 'frames_per_video': 64}
  return make_config('synthetic', variants, options=options, values={'data.root': ''})
"""
_FIELDS = ('--config.train.steps=1', '--config.train.log_every_steps=1')
_POLL_S = 0.02


def measure_start(folder: str | pathlib.Path, name: str) -> list[dict[str, Any]]:
  """Run a variant cold and warm.

  Args:
    folder: an empty folder for caches and runs.
    name: a name in `VARIANTS`.

  Returns:
    A row for each run: seconds to the first update and to the scores, and CPU seconds.
  """
  folder = pathlib.Path(folder)
  command = _command(name, folder)
  _run([*command[:2], 'a3dcae_jax.prepare', *command[3:]], folder)
  rows = []
  for kind in ('cold', 'warm'):
    workdir = folder / kind
    before = _cpu_seconds()
    seconds = _run(
      [*command, f'--workdir={workdir}'],
      folder,
      {'first_update_s': workdir / 'metrics.jsonl', 'first_score_s': workdir / 'scores.csv'},
    )
    rows.append(
      {'mode': 'start', 'run': name, 'programs': kind, **seconds, 'cpu_s': _cpu_seconds() - before}
    )
  return rows


def measure_all_starts() -> Iterator[dict[str, Any]]:
  """Yield a row for the imports, and two for each of `VARIANTS`."""
  yield measure_imports()
  for name in VARIANTS:
    with tempfile.TemporaryDirectory(prefix='start-') as folder:
      yield from measure_start(folder, name)


def measure_imports() -> dict[str, Any]:
  """Measure a process that imports what `main` imports, and nothing else."""
  before = _cpu_seconds()
  seconds = _run([sys.executable, '-c', 'import a3dcae_jax.run.session'], pathlib.Path.cwd())
  return {'mode': 'start', 'run': 'imports', **seconds, 'cpu_s': _cpu_seconds() - before}


def describe(row: Mapping[str, Any]) -> str:
  """Return a measured row as one line for the terminal."""
  if row['run'] == 'imports':
    return f'start: imports alone {row["end_s"]:.1f} s, {row["cpu_s"]:.1f} CPU s'
  return (
    f'start: {row["run"]:9s} {row["programs"]}: first update after {row["first_update_s"]:.1f} s, '
    f'first scores after {row["first_score_s"]:.1f} s, end after {row["end_s"]:.1f} s; '
    f'{row["cpu_s"]:.1f} CPU s'
  )


def _command(name: str, folder: pathlib.Path) -> list[str]:
  file = folder / 'synthetic.py'
  file.write_text(_CONFIG, encoding='utf-8')
  config = f'--config={file}:{VARIANTS[name]}'
  caches = f'--config.data.cache_dir={folder / "caches"}'
  return [sys.executable, '-m', 'a3dcae_jax.main', config, caches, *_FIELDS]


def _run(
  command: Sequence[str], folder: pathlib.Path, files: Mapping[str, pathlib.Path] | None = None
) -> dict[str, float]:
  """Run a command; return when files had content and when it ended, in seconds."""
  environment = {**os.environ, 'JAX_COMPILATION_CACHE_DIR': str(folder / 'programs')}
  waited = dict(files or {})
  seconds = {}
  with tempfile.TemporaryFile('w+') as output:
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    while process.poll() is None:
      for name in [name for name, file in waited.items() if _has_content(file)]:
        seconds[name] = time.perf_counter() - start
        del waited[name]
      time.sleep(_POLL_S)
    seconds['end_s'] = time.perf_counter() - start
    if process.returncode:
      output.seek(0)
      last = last_message(output.read()) or 'no message'
      raise UserError(f'--modes=start: {command[2]} ended with {process.returncode}: {last}')
  return seconds | dict.fromkeys(waited, seconds['end_s'])


def _has_content(file: pathlib.Path) -> bool:
  return file.exists() and file.stat().st_size > 0


def _cpu_seconds() -> float:
  """Return the CPU seconds of all ended child processes."""
  usage = resource.getrusage(resource.RUSAGE_CHILDREN)
  return usage.ru_utime + usage.ru_stime
