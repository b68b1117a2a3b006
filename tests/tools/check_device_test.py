"""`tools.check_device`, with the CPU compared with itself."""

import json
import os
import pathlib
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tools import check_device


def test_there_is_a_check_for_each_kind_of_operator():
  kinds = {check.name.split()[0] for check in check_device.operators()}
  assert kinds == {'conv3d', 'deconv3d', 'pool', 'pool_patches', 'deconv_unpooled'}


def test_the_difference_is_relative_to_the_largest_value():
  found = {'a': np.float32([1, 2]), 'b': np.float32([4])}
  expected = {'a': np.float32([1, 4]), 'b': np.float32([4])}
  assert check_device.relative_difference(found, expected) == 0.5


def test_gradients_are_compared_too():
  value, (gradient,) = check_device.value_and_gradient(jnp.square)(jnp.float32([3.0, 2.0]))
  np.testing.assert_allclose(value, [9, 4])
  np.testing.assert_allclose(gradient, [6 * np.cos(0), 4 * np.cos(1)], rtol=1e-6)


@pytest.mark.slow
def test_operators_agree_with_themselves(monkeypatch):
  checks = {}
  for check in check_device.operators():
    checks.setdefault(check.name.split()[0], check)  # one check per kind, to save time
  monkeypatch.setattr(check_device, 'operators', lambda: iter(checks.values()))
  first, second = jax.devices('cpu')[:2]
  differences = check_device.operator_differences(first, second)
  assert set(differences) == {check.name for check in checks.values()}
  assert max(differences.values()) < check_device.OPERATOR_LIMIT


def test_maxima_move_only_where_a_map_is_rounded_before_it_is_pooled():
  first, second = jax.devices('cpu')[:2]
  shares = check_device.pool_index_differences(first, second)
  assert shares['conv_pool3d'] < check_device.POOL_INDEX_LIMIT
  assert shares['rounded_first'] > 0.1


# A separate process, in which XLA compiles fast.
COMPARE_STEPS = """
import json, jax
from a3dcae_jax.config.presets import PRESETS, Preset
from tools import check_device
PRESETS['smallest'] = Preset((4, 4), (2, 2), discriminator_units=2, size_px=8)
first, second = jax.devices('cpu')[:2]
print(json.dumps(check_device.step_differences(first, second, 'smallest')))
"""


@pytest.mark.slow  # compiles a training step twice
def test_one_step_agrees_with_itself():
  fast = {'XLA_FLAGS': '--xla_backend_optimization_level=0'}
  done = subprocess.run(
    [sys.executable, '-c', COMPARE_STEPS],
    cwd=pathlib.Path(__file__).parents[2],
    env=os.environ | fast,
    capture_output=True,
    text=True,
    check=False,
    timeout=200,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  metrics, rank = json.loads(done.stdout.splitlines()[-1])
  assert set(metrics) >= {'rec', 'adv', 'gen'}
  assert all(np.isclose(a, b, rtol=1e-6) for a, b in metrics.values())
  assert rank > check_device.RANK_LIMIT


@pytest.mark.parametrize(
  'changes, passed',
  [
    ({}, True),
    ({'operator': 1e-4}, False),
    ({'pool_index': 0.2}, False),
    ({'metric': 1.01}, False),
    ({'rank': 0.9}, False),
  ],
)
def test_a_device_that_differs_fails(tmp_path, monkeypatch, changes, passed):
  found = {'operator': 1e-7, 'pool_index': 0.0, 'metric': 1.0, 'rank': 1.0} | changes
  results = {
    'operator_differences': {'conv3d square': found['operator']},
    'pool_index_differences': {'conv_pool3d': found['pool_index'], 'rounded_first': 0.5},
    'step_differences': ({'rec': [found['metric'], 1.0]}, found['rank']),
  }
  for name, result in results.items():
    monkeypatch.setattr(check_device, name, lambda *_, result=result: result)
  status = check_device.main([f'--json={tmp_path}/check.json'])
  assert status == (0 if passed else 1)
  assert json.loads((tmp_path / 'check.json').read_text())['passed'] == passed
