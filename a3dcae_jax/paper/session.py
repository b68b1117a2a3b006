"""The tables that a user asks for: planned, run, collected and written."""

import pathlib
import shlex
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import check_writable
from a3dcae_jax.config import fields
from a3dcae_jax.measuring.peer import Peer, check_peer
from a3dcae_jax.objects.detectors import check_detector
from a3dcae_jax.paper import plan
from a3dcae_jax.paper.collect import RowResult, baselines, collect
from a3dcae_jax.paper.left_out import left_out_sheet
from a3dcae_jax.paper.runner import Outcome, run_jobs
from a3dcae_jax.paper.tables import ALL, TABLES, asked_for
from a3dcae_jax.run.datasets import open_cache

if TYPE_CHECKING:  # imports Bokeh, which takes a second
  from a3dcae_jax.paper.sheets import Sheet


class Order(NamedTuple):
  """The tables that the user asks for, and how they are made.

  Attributes:
    tables: names of tables and figures, or 'all'.
    seeds: seeds of every row.
    out: folder of runs and results.
    processes: runs at the same time.
    shard: (k, n): the k-th of n parts of the runs is made here.
    peer: a reference implementation, whose speed stands in Table VII; None for none.
    command: the command, for the results.
  """

  tables: Sequence[str]
  seeds: Sequence[int]
  out: pathlib.Path
  processes: int = 1
  shard: tuple[int, int] = (0, 1)
  peer: Peer | None = None
  command: str = ''


def show_plan(base: plan.Base, order: Order) -> None:
  """Print the runs that tables need, and their commands. Nothing is run or written."""
  jobs = _jobs(base, order)
  mine = {job.name for job in plan.split(plan.distinct(jobs), order.shard)}
  for job in plan.distinct(jobs):
    state = 'done' if plan.is_done(job) else 'to run'
    if job.name not in mine:
      state += ', on another host'
    rows = ', '.join(_rows_of(jobs, job, order, base))
    print(f'# {job.name} ({state}): {rows}\n{job.command}')


def make_tables(base: plan.Base, order: Order) -> Outcome:
  """Run what tables need and is not done, and write them.

  Args:
    base: the user's config.
    order: what the user asks for.

  Returns:
    Which runs failed, and the signal that ended the work. After a signal nothing is written.

  Raises:
    UserError: before the first run, for wrong settings, missing videos and folders that cannot be
      used.
  """
  jobs = _jobs(base, order)
  distinct = plan.distinct(jobs)
  check_writable(order.out, '--out')
  plan.check_workdirs(distinct)
  if order.peer:
    check_peer(order.peer)
  _check_data(distinct)
  plan.claim_out(order.out, base)
  mine = plan.split(distinct, order.shard)
  outcome = run_jobs(mine, processes=order.processes, show=_show)
  if not outcome.asked_by:
    write_tables(base, order, jobs)
  return outcome


def write_tables(base: plan.Base, order: Order, jobs: plan.Jobs) -> None:
  """Write all tables from the results that are there, and print them."""
  from a3dcae_jax.paper.page import PAGE, terminal_text, write_sheets  # Bokeh takes a second

  data_set = base.settings.data.name
  names = asked_for(order.tables, data_set)
  sheets = []
  for name in names:
    sheets += _sheets(name, base, jobs, order)
  if ALL in order.tables:
    sheets.append(left_out_sheet(base.settings))
  title = f'{data_set} {base.settings.variant}: the paper, table by table'
  write_sheets(order.out, title, sheets, _notes(base, order))
  for sheet in sheets:
    print(terminal_text(sheet) + '\n')
  print(f'written: {order.out / PAGE}, and NAME.md and NAME.csv of each table')


def _jobs(base: plan.Base, order: Order) -> plan.Jobs:
  plan.check_out(order.out, base)
  names = asked_for(order.tables, base.settings.data.name)
  return plan.make_jobs(base, names, order.seeds, order.out)


def _sheets(name: str, base: plan.Base, jobs: plan.Jobs, order: Order) -> list['Sheet']:
  """Return a table or figure; the theory and the complexity have several."""
  kind = TABLES[name].kind
  if kind == 'theory':
    return _theory_sheets()
  if kind == 'complexity':
    return _complexity_sheets(base.settings)
  rows = collect(name, jobs, order.seeds, base.settings.data.name)
  return [_sheet_of_rows(name, rows, jobs, order)]


def _sheet_of_rows(name: str, rows: Sequence[RowResult], jobs: plan.Jobs, order: Order) -> 'Sheet':
  from a3dcae_jax.paper import figures, sheets

  kind = TABLES[name].kind
  if kind == 'results':
    return sheets.results_sheet(name, rows, baselines(jobs, order.seeds))
  if kind == 'speed':
    return _speed_sheet(name, rows, order.peer)
  makers = {
    'events': sheets.events_sheet,
    'losses': figures.losses_sheet,
    'gaps': figures.gaps_sheet,
    'feature_maps': figures.feature_maps_sheet,
    'examples': figures.examples_sheet,
  }
  return makers[kind](name, rows)


def _speed_sheet(name: str, rows: Sequence[RowResult], peer: Peer | None) -> 'Sheet':
  from a3dcae_jax.paper.sheets import speed_sheet
  from a3dcae_jax.paper.speed import measure, peer_note

  first = {row.label: row.results[0] for row in rows if row.results}
  device = next((result.device for result in first.values()), 'no device')
  note = peer_note(peer)
  try:
    speeds = measure(first, peer)
  except UserError as error:
    if not peer:
      raise
    note = f'Without the reference implementation: {error}'
    speeds = measure(first)
  return speed_sheet(name, rows, speeds, device, [note])


def _theory_sheets() -> list['Sheet']:
  from a3dcae_jax.paper.sheets import data_sheet
  from a3dcae_jax.paper.theory import figures

  return [
    data_sheet(each.name, each.title, each.columns, each.rows, [each.verdict.rstrip('.')])
    for each in figures()
  ]


def _complexity_sheets(settings: fields.Config) -> list['Sheet']:
  from a3dcae_jax.paper.complexity import tables
  from a3dcae_jax.paper.sheets import data_sheet

  found = []
  for each in tables(settings):
    notes = [sentence.rstrip('.') for sentence in each.verdict]
    name = f'complexity_{each.name}'
    found.append(data_sheet(name, f'Section IV-F. {each.title}', each.columns, each.rows, notes))
  return found


def _check_data(jobs: Sequence[plan.Job]) -> None:
  """Open all frame caches, making those that do not exist, and check the detectors.

  Raises:
    UserError: if videos or labels are missing.
  """
  opened: list[fields.Data] = []
  for job in jobs:
    settings = job.settings
    if settings is None or settings.data in opened:
      continue
    opened.append(settings.data)
    cache = open_cache(settings.data)
    if not cache.test.videos or cache.test.labels is None:
      raise UserError(
        f'{settings.data.name} at {settings.data.root or cache.folder} has no labelled test '
        'videos: the tables compare figures that need labels'
      )
    if settings.objects.detector:
      check_detector(settings.objects.detector)


def _rows_of(jobs: plan.Jobs, job: plan.Job, order: Order, base: plan.Base) -> list[str]:
  """Return the rows that read a job's results, as 'V: w/o GAN'."""
  recipes = {recipe for (recipe, seed), other in jobs.items() if other.name == job.name}
  found = []
  for name in asked_for(order.tables, base.settings.data.name):
    labels = [label for label, recipe in TABLES[name].rows.items() if recipe in recipes]
    found += [f'{name}: {label}' for label in labels]
  users = [other.name for other in plan.distinct(jobs) if job.name in other.needs]
  return [*found, *users] or ['baselines']


def _notes(base: plan.Base, order: Order) -> list[str]:
  notes = [f'Command: {order.command}'] if order.command else []
  train = base.settings.train
  size = f'{base.settings.data.width}x{base.settings.data.height}'
  notes.append(
    f'Config {base.settings.data.name}:{",".join(base.variants)}, frames of {size}, '
    f'{train.steps} updates of {train.batch_size} clips unless a row says otherwise, '
    f'seeds {", ".join(map(str, order.seeds))}'
  )
  if base.overrides:
    notes.append(f'Set in every row: {_overrides_text(base.overrides)}')
  return notes


def _overrides_text(overrides: Mapping[str, object]) -> str:
  return ', '.join(f'{field}={shlex.quote(str(value))}' for field, value in overrides.items())


def _show(line: str) -> None:
  print(line, flush=True)
