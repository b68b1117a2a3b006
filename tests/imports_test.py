"""What must import without TensorFlow and PyAV, as where a frame cache was carried to, does, and runs."""

import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
NEEDS_TENSORFLOW = ('_dataset_builder', 'builders.base')


@pytest.mark.slow
def test_the_core_imports_without_tensorflow():
  names = [
    '.'.join(path.relative_to(ROOT).with_suffix('').parts)
    for path in sorted((ROOT / 'a3dcae_jax').rglob('*.py'))
  ]
  names = [name.removesuffix('.__init__') for name in names if not name.endswith(NEEDS_TENSORFLOW)]
  names = [
    name for name in names if name.count('.') != 1 or (ROOT / name.replace('.', '/')).is_dir()
  ]  # commands define flags
  code = (
    "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'tensorflow_datasets', 'clu', 'av')))\n"
    f'import importlib\nfor name in {names}: importlib.import_module(name)'
  )
  result = subprocess.run(
    [sys.executable, '-c', code], capture_output=True, text=True, timeout=120, cwd=ROOT, check=False
  )
  assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_training_resident_runs_without_tensorflow(tmp_path):
  code = (
    "import sys; sys.modules.update(dict.fromkeys(('tensorflow', 'tensorflow_datasets', 'clu', 'av')))\n"
    "import runpy; runpy.run_module('a3dcae_jax.main', run_name='__main__')"
  )
  flags = [
    '--config=configs/synthetic.py:tiny',
    f'--workdir={tmp_path}/run',
    f'--config.data.cache_dir={tmp_path}/caches',
  ]
  result = subprocess.run(
    [sys.executable, '-c', code, *flags],
    capture_output=True,
    text=True,
    timeout=300,
    cwd=ROOT,
    check=False,
  )
  assert result.returncode == 0, result.stderr[-2000:]
  assert (tmp_path / 'run' / 'report.html').exists() and 'this run' in result.stdout
