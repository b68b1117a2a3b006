"""Changes to the config of a run that is scored again or exported."""

import ast
import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import checked, fields
from a3dcae_jax.run import workdir as workdirs

_MAY_CHANGE = ('eval.', 'events.', 'data.options.')
_BOOLEANS = {'true': True, 'false': False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Changes:
  """Changes to the config of a run.

  Attributes:
    normalisation: the one that heads the report; empty for the run's own.
    data_root: folder of the videos, if they have moved.
    cache: frame cache, if it has moved.
    overrides: name of a field, such as 'eval.stride' -> value as text. Only fields that do not
      change what is trained may be overridden: those of `eval` and `events`, `data.label_set` and
      `data.options`.
  """

  normalisation: str = ''
  data_root: str = ''
  cache: str = ''
  overrides: Mapping[str, str] = dataclasses.field(default_factory=dict)


def settings_of_run(workdir: str | pathlib.Path, changes: Changes) -> fields.Config:
  """Return the config of a run with `changes` applied."""
  return with_changes(workdirs.read_config(pathlib.Path(workdir)), changes)


def with_changes(settings: fields.Config, changes: Changes) -> fields.Config:
  """Return `settings` with `changes` applied.

  Raises:
    UserError: for a field that does not exist or may not change, and for an invalid value.
  """
  overrides = dict(changes.overrides)
  if changes.normalisation:
    overrides['eval.normalisation'] = changes.normalisation
  settings = _with_overrides(settings, overrides)
  data = settings.data
  if changes.data_root and data.name == 'synthetic':
    raise UserError('--data_root: the synthetic set is drawn, it has no folder of videos')
  if changes.data_root:
    data = dataclasses.replace(data, root=changes.data_root, cache='')
  if changes.cache:
    data = dataclasses.replace(data, cache=changes.cache)
  return dataclasses.replace(settings, data=data)


def _with_overrides(settings: fields.Config, overrides: Mapping[str, str]) -> fields.Config:
  values = workdirs.to_json(settings)
  for field, text in overrides.items():
    if field != 'data.label_set' and not field.startswith(_MAY_CHANGE):
      raise UserError(
        f'--override: {field} cannot be changed after training; fields of eval and events, '
        'data.label_set and data.options can'
      )
    part, name = _parent(values, field)
    if name not in part:
      raise UserError(f'--override: there is no field {field}; see docs/reference/config.md')
    part[name] = _value_of(text)
  return checked(values)


def _parent(values: dict[str, Any], field: str) -> tuple[dict[str, Any], str]:
  """Return the object that has a field, empty if there is none, and its own name."""
  *parents, name = field.split('.')
  for parent in parents:
    values = values.get(parent)
    if not isinstance(values, dict):
      return {}, name
  return values, name


def _value_of(text: str) -> Any:
  """Return the Python literal that a text is, or else the text itself."""
  if text in _BOOLEANS:
    return _BOOLEANS[text]
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
    return text
