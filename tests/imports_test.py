"""Packages import and a run trains without TensorFlow and PyAV."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
PACKAGE = ROOT / 'a3dcae_jax'
BLOCKED = ('tensorflow', 'tensorflow_datasets', 'clu', 'av')
NEEDS_TENSORFLOW = ('_dataset_builder.py', 'builders/base.py')
BLOCK = f'import sys; sys.modules.update(dict.fromkeys({BLOCKED}))\n'


def run_python(code, *arguments):
  return subprocess.run(
    [sys.executable, '-c', code, *arguments],
    capture_output=True,
    text=True,
    timeout=300,
    cwd=ROOT,
    check=False,
  )


def module_names():
  """Return the modules of all packages.

  Commands are left out, since they define flags of the same names and only one can be imported.
  """
  names = []
  for path in sorted(PACKAGE.glob('*/**/*.py')):
    if str(path).endswith(NEEDS_TENSORFLOW):
      continue
    module = path.relative_to(ROOT).with_suffix('')
    names.append('.'.join(module.parts).removesuffix('.__init__'))
  return names


@pytest.mark.slow
def test_packages_import_without_tensorflow():
  names = module_names()
  assert 'a3dcae_jax.run.session' in names
  result = run_python(
    BLOCK + f'import importlib\nfor name in {names}: importlib.import_module(name)'
  )
  assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_main_trains_and_evaluates_without_tensorflow(tmp_path):
  result = run_python(
    BLOCK + "import runpy; runpy.run_module('a3dcae_jax.main', run_name='__main__')",
    '--config=configs/synthetic.py:tiny',
    f'--workdir={tmp_path}/run',
    f'--config.data.cache_dir={tmp_path}/caches',
  )
  assert result.returncode == 0, result.stderr[-2000:]
  assert (tmp_path / 'run' / 'report.html').exists()
  assert 'this run' in result.stdout
