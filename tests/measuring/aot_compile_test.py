"""Compiling for absent chips: links, errors, and one real compilation."""

import importlib.util

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import aot_compile, chips
from a3dcae_jax.measuring.links import sending_s
from a3dcae_jax.measuring.programs import Setting


def test_the_message_names_the_memory_that_was_exceeded():
  of_the_chip = (
    'RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 17.2G of 15.7G hbm. '
    'op_name="jit(f)/conv1/conv"'
  )
  assert 'smaller --batch' in aot_compile.out_of_memory(of_the_chip)
  assert 'kernel' not in aot_compile.out_of_memory(of_the_chip)
  on_chip = (
    'RESOURCE_EXHAUSTED: Ran out of memory in memory space vmem while allocating on stack for '
    '%conv2.2 = (bf16[8]) custom-call(%x), metadata={op_name="jit(f)/conv2/pallas_call"}. '
    'Scoped allocation with size 16.01M and limit 16.00M exceeded scoped vmem limit'
  )
  assert 'kernel jit(f)/conv2/pallas_call' in aot_compile.out_of_memory(on_chip)


def test_the_roofline_is_the_longer_of_two_times():
  chip = chips.Chip(tflops_per_s=2.0, gb_per_s=1000.0, memory_gib=16, link_gb_per_s=1)
  by_flops = {'compute_s': 3.0, 'memory_s': 2.0, 'limited_by': 'FLOPs'}
  assert aot_compile.roofline(6e12, 2e12, chip) == by_flops
  assert aot_compile.roofline(2e12, 2e12, chip)['limited_by'] == 'memory'


def collective(purpose, opcode, num_bytes, overlapped):
  return {'purpose': purpose, 'opcode': opcode, 'bytes': num_bytes, 'overlapped': overlapped}


def test_collectives_are_summed_by_purpose():
  sent = [
    collective('gradients', 'all-reduce', 4e9, True),
    collective('gradients', 'all-gather-start', 1e9, True),
    collective('statistics', 'all-reduce', 0, False),
  ]
  found = aot_compile.sent_figures(sent, 'v5e:2x2', 1.0)
  reduction_s = 4e9 * 2 * 3 / 4 / 200e9
  gathering_s = 1e9 * 3 / 4 / 200e9
  assert found['gradient_reductions'] == 1
  assert found['other_gradient_collectives'] == 1
  assert found['statistics_reductions'] == 1
  assert found['gradient_mb'] == 5000
  assert found['collective_s'] == pytest.approx(reduction_s + gathering_s)
  assert found['overlapped']
  assert found['waited_share'] == 0


def test_a_step_waits_for_collectives_without_overlap():
  sent = [
    collective('gradients', 'all-reduce', 4e9, False),
    collective('gradients', 'all-gather-start', 1e9, True),
  ]
  found = aot_compile.sent_figures(sent, 'v5e:2x2', 1.0)
  assert found['waited_share'] == pytest.approx(4e9 * 2 * 3 / 4 / 200e9)
  assert not found['overlapped']


@pytest.mark.parametrize(
  ('opcode', 'topology', 'seconds'),
  [
    ('all-reduce-start', 'v5e:4x4', 2 * 15 / 16 / 200),
    ('all-gather', 'h200:1x8', 7 / 8 / 450),
    ('reduce-scatter', 'v5e:2x2', 3 / 200),
    ('all-to-all', 'h200:1x8', 7 / 8 / 450),
    ('all-to-all', 'v5e:1x1', 0),
    ('all-to-all', 'v5e:2x2', 4 / 4 / (2 * 50)),  # two links of 50 GB/s between the halves
    ('all-to-all', 'v5e:16x16', 256 / 4 / (32 * 50)),  # sixteen rings, each cut twice
    ('all-to-all', 'v5p:2x2x4', 16 / 4 / (2 * 4 * 100)),
  ],
)
def test_time_at_the_rate_of_the_links_by_hand(opcode, topology, seconds):
  assert sending_s(opcode, 1e9, topology) == pytest.approx(seconds)


@pytest.mark.parametrize('name', ['v5e', 'v9:1x1', 'v5e:0x1', 'h200:axb'])
def test_unknown_topologies_are_named(name):
  with pytest.raises(UserError, match=f"--topology '{name}': write KIND:GRID"):
    chips.topology_devices(name)


@pytest.mark.parametrize(
  'name, plugin, extra', [('v5e:2x2', 'libtpu', 'tpu'), ('h200:1x1', 'jax_cuda12_plugin', 'cuda12')]
)
def test_a_compiler_that_is_not_installed_is_named(name, plugin, extra):
  if importlib.util.find_spec(plugin):
    pytest.skip(f'{plugin} is installed')
  with pytest.raises(UserError, match=rf"--topology '{name}': .*pip install -e '[.]\[{extra}\]'"):
    chips.topology_devices(name)


@pytest.mark.skipif(
  importlib.util.find_spec('jax_cuda12_plugin') is None, reason='needs the extra cuda12, and no GPU'
)
def test_a_program_compiles_for_an_absent_gpu():
  row = aot_compile.report(Setting('infer', 'tiny', 1, 'bfloat16'), 'h200:1x1')
  assert row['fits']
  assert row['model_gflops_per_clip'] > 0
  assert any('cudnn' in kernel['kind'] for kernel in row['kernels'])
