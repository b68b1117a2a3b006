"""The plan of tables: each row and seed becomes a run of `main` or a sum of runs."""

import dataclasses
import pathlib
import runpy
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import object_digest, read_json, read_object, write_json
from a3dcae_jax.config import checked, fields
from a3dcae_jax.paper.tables import BASE, RECIPES, TABLES, row_fields, row_variants
from a3dcae_jax.run import workdir as workdirs
from a3dcae_jax.scoring.schema import validate_metrics

PLAN = 'plan.json'
MAX_SEED = 2**32 - 1

# Fields that the user's own values set in every row, also in rows that have others by themselves.
_BUDGET = ('train.', 'optimizer.', 'eval.', 'events.')

# Kinds of tables that run the networks again, on whole frames.
_OF_WHOLE_FRAMES = ('speed', 'feature_maps', 'examples')


@dataclasses.dataclass(frozen=True)
class Base:
  """The config that the user gives, from which all rows are made.

  Attributes:
    file: the config file.
    variants: its variants.
    overrides: name of a field, such as 'train.steps' -> value that the user sets.
    settings: the resulting config.
  """

  file: str
  variants: tuple[str, ...]
  overrides: Mapping[str, Any]
  settings: fields.Config


@dataclasses.dataclass(frozen=True)
class Job:
  """A command whose results a table needs, in a process of its own.

  Attributes:
    name: name of its folder.
    arguments: arguments of Python.
    workdir: its folder.
    digest: identifies its settings.
    recipe: name of its recipe.
    seed: its seed.
    settings: its config; None for a sum of runs.
    needs: names of the jobs whose results it reads.
  """

  name: str
  arguments: tuple[str, ...]
  workdir: pathlib.Path
  digest: str
  recipe: str
  seed: int
  settings: fields.Config | None = None
  needs: tuple[str, ...] = ()

  @property
  def command(self) -> str:
    """The command line, as a user would write it."""
    return shlex.join(('python', *self.arguments))


Jobs = dict[tuple[str, int], Job]
"""(name of a recipe, seed) -> its job. Recipes with equal settings share one."""


def make_jobs(base: Base, tables: Sequence[str], seeds: Sequence[int], out: pathlib.Path) -> Jobs:
  """Return the jobs of all rows of tables, each after those that it needs.

  Args:
    base: the user's config.
    tables: names of tables.
    seeds: the seeds.
    out: folder of the experiments.

  Raises:
    UserError: if the settings of a row are wrong, or the config is another row than the base.
  """
  _check_base(base.settings, tables)
  recipes = [recipe for name in tables for recipe in TABLES[name].rows.values()]
  ordered = dict.fromkeys((BASE, *recipes) if recipes else ())
  jobs: Jobs = {}
  for seed in seeds:
    for recipe in ordered:
      _add(jobs, base, recipe, seed, out)
  return jobs


def distinct(jobs: Jobs) -> list[Job]:
  """Return each job once, in their order."""
  return list({job.name: job for job in jobs.values()}.values())


def read_seeds(texts: Sequence[str]) -> list[int]:
  """Return seeds from texts, each once.

  Raises:
    UserError: if one is not a whole number from 0 on, or there is none.
  """
  seeds = []
  for text in texts:
    if not text.isascii() or not text.isdecimal() or int(text) > MAX_SEED:
      raise UserError(
        f'--seeds (={",".join(texts)}): {text!r} is not a whole number from 0 to {MAX_SEED}, '
        'as in --seeds=0,1,2'
      )
    seeds.append(int(text))
  if not seeds:
    raise UserError('--seeds is empty: name one or several, as in --seeds=0,1,2')
  return list(dict.fromkeys(seeds))


def claim_out(out: pathlib.Path, base: Base) -> None:
  """Write the config into a new folder, or check the folder of an earlier call.

  Raises:
    UserError: if it holds runs of another config, or other files.
  """
  path = out / PLAN
  check_out(out, base)
  if not path.exists():
    write_json(path, {'base': workdirs.to_json(base.settings)})


def check_out(out: pathlib.Path, base: Base) -> None:
  """Check that a folder is new, or holds runs of this config. Nothing is written.

  Raises:
    UserError: if it holds runs of another config, or other files.
  """
  path = out / PLAN
  if not path.exists():
    if out.is_dir() and any(out.iterdir()):
      raise UserError(f'--out={out} has files but no {PLAN}: name a new folder')
    return
  before = read_object(path).get('base')
  try:
    different = workdirs.differences(checked(before), _without_seed(base.settings, before))
  except (UserError, AttributeError, TypeError) as error:
    raise UserError(f'{path} is not a plan of this version ({error}): name a new --out') from None
  if different:
    raise UserError(
      f'--out={out} holds runs of another config: {"; ".join(different)}. Choose another --out'
    )


def check_workdirs(jobs: Sequence[Job]) -> None:
  """Check that no folder of a run belongs to another config.

  Raises:
    UserError: as `main` would in that folder, or if the run has more updates than are asked for.
  """
  for job in jobs:
    done = workdirs.newest_update(job.workdir)
    if job.settings is None or done is None:
      continue
    workdirs.init_or_check_workdir(job.workdir, job.settings)
    if done > job.settings.train.steps:
      raise UserError(
        f'train.steps (={job.settings.train.steps}): {job.workdir} already has {done} updates; '
        'ask for no fewer, or choose another --out'
      )


def state_file(job: Job) -> pathlib.Path:
  """Return the file on a job's processes: their minutes, the digest of its settings."""
  return job.workdir.parents[1] / 'state' / f'{job.name}.json'


def read_state(job: Job) -> dict[str, Any]:
  """Return the content of a job's state file; empty before its first process ended."""
  path = state_file(job)
  return read_object(path) if path.exists() else {}


def is_done(job: Job) -> bool:
  """Return whether there are results of a job, from the settings that it has now."""
  path = job.workdir / 'metrics.json'
  if not path.exists():
    return False
  try:
    metrics = validate_metrics(read_json(path), source=str(path))
  except UserError:
    return False
  if job.settings and metrics['checkpoint_step'] < job.settings.train.steps:
    return False
  digest = read_state(job).get('digest')
  if digest is None and job.settings:  # a run that `main` was called for by hand
    digest = workdirs.result_digest(workdirs.read_config(job.workdir))
  return digest == job.digest


def split(jobs: Sequence[Job], shard: tuple[int, int]) -> list[Job]:
  """Return the jobs of one host of several, in their order.

  Jobs that need each other's results are on the same host.

  Args:
    jobs: all jobs, each after those that it needs.
    shard: (k, n): every n-th group of jobs is taken, from the k-th on.
  """
  group_of: dict[str, int] = {}
  for job in jobs:
    joined = {group_of[name] for name in job.needs}
    group = min(joined, default=len(group_of))
    for name, other in group_of.items():
      if other in joined:
        group_of[name] = group
    group_of[job.name] = group
  number, count = shard
  mine = sorted(set(group_of.values()))[number::count]
  return [job for job in jobs if group_of[job.name] in mine]


def _check_base(settings: fields.Config, tables: Sequence[str]) -> None:
  """Check that a config is the row "Ours" of tables, not one of the others."""
  kind = settings.model.kind
  if kind != 'a3dcae':
    raise UserError(
      f'model.kind (={kind!r}) must be \'a3dcae\', the row "Ours": leave its variant out of '
      '--config, since the tables add the other networks as rows'
    )
  is_frames = settings.input.kind == 'frames' and not settings.objects.detector
  for name in tables:
    if settings.objects.detector and TABLES[name].kind in _OF_WHOLE_FRAMES:
      raise UserError(
        f'--table={name} runs networks on whole frames, but --config is on objects '
        f'(objects.detector={settings.objects.detector!r}): give one on frames, as in '
        'configs/ucsd_ped2.py:small'
      )
    if not is_frames and {'objects', 'flow'} & set(TABLES[name].rows.values()):
      raise UserError(
        f'--table={name} compares frames with objects or flow, but --config is on objects or flow '
        f'(objects.detector={settings.objects.detector!r}, input.kind={settings.input.kind!r}): '
        'give one on frames, as in configs/ucsd_ped2.py:small'
      )


def _add(jobs: Jobs, base: Base, recipe: str, seed: int, out: pathlib.Path) -> None:
  """Add the job of a recipe and a seed, after those that it needs."""
  if (recipe, seed) in jobs:
    return
  parts = RECIPES[recipe].sum_of
  for part in parts:
    _add(jobs, base, part, seed, out)
  if parts:
    job = _sum_job(recipe, seed, [jobs[part, seed] for part in parts], out)
  else:
    job = _run_job(base, recipe, seed, out)
  same = [other for other in jobs.values() if other.digest == job.digest]
  jobs[recipe, seed] = same[0] if same else job


def _run_job(base: Base, recipe: str, seed: int, out: pathlib.Path) -> Job:
  variants = ','.join(row_variants(recipe, base.variants))
  config = _load(base.file, variants)
  values = _values(base, recipe, config) | {'seed': seed}
  config.update_from_flattened_dict(values)
  settings = checked(config)
  name = f'{recipe}_s{seed}'
  workdir = out / 'runs' / name
  flags = [f'--config.{field}={_text(value)}' for field, value in values.items()]
  arguments = (
    '-m',
    'a3dcae_jax.main',
    f'--config={base.file}:{variants}',
    *flags,
    f'--workdir={workdir}',
  )
  digest = workdirs.result_digest(settings)
  return Job(name, arguments, workdir, digest, recipe, seed, settings)


def _sum_job(recipe: str, seed: int, parts: Sequence[Job], out: pathlib.Path) -> Job:
  name = f'{recipe}_s{seed}'
  workdir = out / 'runs' / name
  folders = [str(part.workdir) for part in parts]
  arguments = ('-m', 'a3dcae_jax.evaluate', '--sum', *folders, f'--workdir={workdir}')
  digest = object_digest({'sum': [part.digest for part in parts]})
  needs = tuple(part.name for part in parts)
  return Job(name, arguments, workdir, digest, recipe, seed, needs=needs)


def _values(base: Base, recipe: str, config: config_dict.ConfigDict) -> dict[str, Any]:
  """Return the fields that the command of a row sets.

  Those that the user sets are set in every row, except where the row is defined by another value.

  Args:
    base: the user's config.
    recipe: name of the row's recipe.
    config: what the row's variants give.
  """
  own = row_fields(recipe, base.settings)
  plain = _flat(_load(base.file, ','.join(base.variants)))
  row = _flat(config) | own
  values = dict(own)
  for field, value in base.overrides.items():
    is_own = field in row and row[field] != plain.get(field)
    if not is_own or field.startswith(_BUDGET):
      values[field] = value
  return values


def _load(file: str, variants: str) -> config_dict.ConfigDict:
  return runpy.run_path(file)['get_config'](variants)


def _flat(config: config_dict.ConfigDict) -> dict[str, Any]:
  """Return field -> value; of the options of a data set too."""
  flat = {}
  for part, value in config.items():
    if not hasattr(value, 'items'):
      flat[part] = value
      continue
    flat |= {f'{part}.{name}': entry for name, entry in _flat(value).items()}
  return flat


def _text(value: Any) -> str:
  """Return a value as a flag of a config takes it."""
  if isinstance(value, bool):
    return str(value).lower()
  return str(value)


def _without_seed(settings: fields.Config, before: Mapping[str, Any]) -> fields.Config:
  """Return settings with the seed of other ones: the seeds of a plan may grow."""
  return dataclasses.replace(settings, seed=before['seed'])
