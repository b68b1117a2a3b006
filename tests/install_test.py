"""The installed package: tested lower bounds, and a console script that starts."""

import configparser
import importlib
import pathlib

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = pathlib.Path(__file__).parent.parent
# Accelerators are not tested by `.ci/run`, so their bounds may lie above the lowest tested jax.
ACCELERATORS = {'cuda12', 'cuda13', 'tpu'}


def setup_cfg():
  parser = configparser.ConfigParser()
  parser.read(ROOT / 'setup.cfg')
  return parser


def requirements(text):
  return [Requirement(line) for line in text.splitlines() if line.strip()]


def lower_bound(requirement):
  bounds = [part.version for part in requirement.specifier if part.operator == '>=']
  assert len(bounds) == 1, f'{requirement} has no single lower bound'
  return bounds[0]


def lowest_versions():
  versions = {}
  for line in (ROOT / '.ci' / 'lowest.txt').read_text().splitlines():
    if line and not line.startswith('#'):
      name, _, version = line.partition('==')
      versions[name] = version
  return versions


def test_every_lower_bound_is_the_version_that_is_tested():
  config = setup_cfg()
  groups = [config['options']['install_requires']]
  for extra, text in config['options.extras_require'].items():
    if extra not in ACCELERATORS:
      groups.append(text)
  allowed = {}
  for group in groups:
    for requirement in requirements(group):
      allowed[requirement.name] = lower_bound(requirement)
  assert allowed == lowest_versions()


@pytest.mark.parametrize('extra', sorted(ACCELERATORS))
def test_accelerators_take_no_older_jax_than_the_base(extra):
  (requirement,) = requirements(setup_cfg()['options.extras_require'][extra])
  assert requirement.name == 'jax'
  assert requirement.extras == {extra}
  assert Version(lower_bound(requirement)) >= Version(lowest_versions()['jax'])


def test_the_console_script_lists_the_commands(capsys, monkeypatch):
  text = setup_cfg()['options.entry_points']['console_scripts']
  name, _, target = text.strip().partition(' = ')
  module, _, function = target.partition(':')
  assert name == 'a3dcae_jax'
  monkeypatch.setattr('sys.argv', [name])
  assert getattr(importlib.import_module(module), function)() is None
  assert 'usage: a3dcae_jax COMMAND' in capsys.readouterr().out
