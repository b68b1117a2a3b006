"""The installed package: tested lower bounds, a console script, a wheel that needs no clone."""

import configparser
import importlib
import os
import pathlib
import shutil
import subprocess
import sys
import zipfile

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


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
  """Return a folder with the content of the wheel, and nothing else of the clone."""
  source = tmp_path_factory.mktemp('source')
  for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
    shutil.copy(ROOT / name, source)
  ignored = shutil.ignore_patterns('__pycache__')
  shutil.copytree(ROOT / 'a3dcae_jax', source / 'a3dcae_jax', ignore=ignored)
  options = ['--no-deps', '--no-build-isolation', '-q', '-w', str(source / 'wheels')]
  command = [sys.executable, '-m', 'pip', 'wheel', *options, str(source)]
  subprocess.run(command, check=True, timeout=280, capture_output=True)
  (wheel,) = (source / 'wheels').iterdir()
  folder = tmp_path_factory.mktemp('installed')
  zipfile.ZipFile(wheel).extractall(folder)
  return folder


def run_installed(installed, cwd, command, *arguments):
  return subprocess.run(
    [sys.executable, '-m', f'a3dcae_jax.{command}', *arguments],
    cwd=cwd,
    env=os.environ | {'PYTHONPATH': str(installed)},
    capture_output=True,
    text=True,
    timeout=280,
    check=False,
  )


@pytest.mark.slow
def test_a_wheel_has_configs_to_run_with(installed, tmp_path):
  result = run_installed(installed, tmp_path, 'main', '--config=avenue:small')
  assert result.returncode == 2
  assert '`python -m a3dcae_jax.prepare --config=avenue:small --download`' in result.stderr
  assert not list(tmp_path.iterdir())
  result = run_installed(installed, tmp_path, 'prepare', '--config', 'synthetic:tiny')
  assert result.returncode == 0, result.stderr
  assert [path.name for path in tmp_path.iterdir()] == ['data']


@pytest.mark.slow
def test_a_copied_config_works_from_anywhere(installed, tmp_path):
  shutil.copy(installed / 'a3dcae_jax' / 'configs' / 'ucsd_ped2.py', tmp_path / 'mine.py')
  result = run_installed(installed, tmp_path, 'prepare', '--config=mine.py:tiny')
  assert '`python -m a3dcae_jax.prepare --config=mine.py:tiny --download`' in result.stderr


def test_the_clone_links_to_the_configs_of_the_package():
  assert (ROOT / 'configs').resolve() == ROOT / 'a3dcae_jax' / 'configs'
