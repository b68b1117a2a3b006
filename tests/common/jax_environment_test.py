"""The user's settings of JAX are respected, or refused by name before anything is written."""

import os
import subprocess
import sys

import pytest

from a3dcae_jax.common import jax_environment
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.jax_environment import check_settings
from a3dcae_jax.data import pipeline

CONFIG = '--config=tests/faults/mini.py'


def run(tmp_path, **variables):
  """Run `main` under environment variables, without compiling for long."""
  command = [sys.executable, '-m', 'a3dcae_jax.main', CONFIG, f'--workdir={tmp_path / "run"}']
  command += [f'--config.data.cache_dir={tmp_path}', '--config.train.steps=2']
  return subprocess.run(
    command,
    capture_output=True,
    text=True,
    timeout=280,
    check=False,
    env=os.environ | {'JAX_NUM_CPU_DEVICES': '1'} | variables,
  )


@pytest.mark.parametrize(
  'variable, value, words',
  [
    ('JAX_PLATFORM_NAME', 'cuda', ['JAX_PLATFORM_NAME=cuda', 'installed are', 'cpu']),
    ('JAX_PLATFORMS', 'bogus', ['JAX_PLATFORMS=bogus', 'installed are', 'cpu']),
    ('JAX_NUMPY_RANK_PROMOTION', 'raise', ['JAX_NUMPY_RANK_PROMOTION=raise', 'unset it']),
    ('JAX_TRANSFER_GUARD', 'disallow', ['JAX_TRANSFER_GUARD=disallow', 'unset it']),
    ('JAX_ENABLE_X64', '1', ['JAX_ENABLE_X64=True', 'unset it']),
    ('JAX_ENABLE_X64', 'perhaps', ['JAX does not start', 'JAX_ENABLE_X64']),
  ],
)
@pytest.mark.slow
def test_a_setting_that_cannot_be_obeyed_is_refused_by_name(tmp_path, variable, value, words):
  result = run(tmp_path, **{variable: value})
  assert result.returncode == 2
  assert not result.stdout
  (line,) = result.stderr.splitlines()
  for word in ['error: ', *words]:
    assert word in line
  assert not list(tmp_path.iterdir())


def test_flags_of_xla_may_be_in_a_file(tmp_path, monkeypatch):
  for name in ('nonsense', str(tmp_path)):
    monkeypatch.setenv('XLA_FLAGS', name)
    with pytest.raises(UserError, match=f'XLA_FLAGS={name} is neither flags.*nor a file of them'):
      check_settings()
  (tmp_path / 'flags').touch()
  monkeypatch.setenv('XLA_FLAGS', str(tmp_path / 'flags'))
  check_settings()


def test_a_flag_that_xla_does_not_know_is_refused_by_name(tmp_path, monkeypatch):
  monkeypatch.setattr(jax_environment, '_installed_plugins', list)
  known = '--xla_dump_to=x --xla_cpu_multi_thread_eigen'
  monkeypatch.setenv('XLA_FLAGS', known)
  check_settings()
  (tmp_path / 'flags').write_text(f'{known}\n--xla_dump_two=x\n')
  for value in (f'{known} --xla_dump_two=x', str(tmp_path / 'flags')):
    monkeypatch.setenv('XLA_FLAGS', value)
    with pytest.raises(UserError, match='XLA_FLAGS: XLA has no flag --xla_dump_two: correct it'):
      check_settings()
  monkeypatch.setattr(jax_environment, '_installed_plugins', lambda: ['libtpu'])
  check_settings()


@pytest.mark.slow
def test_other_settings_are_obeyed(tmp_path):
  result = run(tmp_path, JAX_NUMPY_DTYPE_PROMOTION='strict', JAX_DEBUG_NANS='1')
  assert result.returncode == 0, result.stderr


def test_tensorflow_that_does_not_import_is_named(tmp_path, monkeypatch):
  (tmp_path / 'tensorflow.py').write_text('raise ImportError("libcudart.so.11: no such file")')
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.delitem(sys.modules, 'tensorflow', raising=False)
  with pytest.raises(UserError, match='streaming needs TensorFlow.*libcudart.so.11'):
    pipeline.import_tensorflow()
