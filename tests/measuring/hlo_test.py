"""Reading of compiled programs: small texts, and a program compiled here."""

import jax
import jax.numpy as jnp
import pytest

from a3dcae_jax.measuring import hlo
from a3dcae_jax.models.autoencoder import AutoEncoder

TEXT = """
%fused_computation (p: f32[512,1024]) -> f32[1024,512] {
  %p = f32[512,1024]{1,0} parameter(0)
  ROOT %transpose.1 = f32[1024,512]{1,0} transpose(%p), dimensions={1,0}
}

ENTRY %main (x: f32[512,1024]) -> f32[512,1024] {
  %x = f32[512,1024]{1,0} parameter(0)
  %copy.7 = f32[512,1024]{0,1} copy(%x), metadata={op_name="jit(f)/conv1/add"}
  %copy.8 = f32[2,2]{0,1} copy(%x)
  ROOT %all-reduce.1 = (f32[512]{0}, bf16[4]{0}) all-reduce(%x, %x), replica_groups={}
}
"""

TWO_REDUCTIONS = """
ENTRY %main (x: f32[64]) -> f32[64] {
  %s.1 = f32[64]{0} all-reduce-start(%x), \
metadata={op_name="jit(f)/conv1/norm.affine/batch_statistics/psum"}
  %d.1 = f32[64]{0} all-reduce-done(%s.1)
  %s.2 = f32[64]{0} all-reduce-start(%d.1), metadata={op_name="jit(f)/psum"}
  %fusion = f32[8,4]{1,0} fusion(%d.1), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/tanh"}
  %conv = (f32[8,4]{1,0}, u8[0]{0}) custom-call(%fusion), custom_call_target="__cudnn$convForward"
  %d.2 = f32[64]{0} all-reduce-done(%s.2)
}
"""

FUSED_GATHER = """
%fused_computation.{index} (p: bf16[2,8]) -> bf16[8,8] {{
  %p.{index} = bf16[2,8]{{1,0}} parameter(0)
  %all-gather.{index} = bf16[8,8]{{1,0}} all-gather(%p.{index}), dimensions={{0}}, \
frontend_attributes={{chain_id="{chain}"}}, metadata={{op_name="jit(f)/fc4"}}
  ROOT %c.{index} = bf16[8,8]{{1,0}} custom-call(%all-gather.{index}), \
custom_call_target="AsyncCollectiveStart"
}}
"""

CONVOLUTION = """
ENTRY %main () -> f32[1,4,4,5] {
  %a = f32[1,4,4,3]{3,2,1,0} parameter(0)
  %k = f32[3,3,3,5]{3,2,1,0} parameter(1)
  ROOT %c = f32[1,4,4,5]{3,2,1,0} convolution(%a, %k), window={size=3x3 pad=1_1x1_1}, \
dim_labels=b01f_01io->b01f
}
"""


def test_shape_bytes_by_hand():
  assert hlo.shape_bytes('f32[2,3]{1,0}') == 24
  assert hlo.shape_bytes('(bf16[4], u8[4], f32[])') == 8 + 4 + 4


def test_only_moves_that_are_written_to_memory_are_listed():
  (move,) = hlo.large_moves(TEXT)
  assert move['name'] == 'copy.7'
  assert move['mb'] == 2.1
  assert move['op_name'] == 'jit(f)/conv1/add'


def test_collectives_by_hand():
  expected = {
    'name': 'all-reduce.1',
    'opcode': 'all-reduce',
    'bytes': 2056,
    'arrays': 2,
    'purpose': 'gradients',
    'overlapped': False,
  }
  assert hlo.collectives(TEXT) == [expected]


def test_a_collective_overlaps_with_computation_between_its_start_and_its_end():
  rows = hlo.collectives(TWO_REDUCTIONS)
  found = [(row['purpose'], row['overlapped']) for row in rows]
  assert found == [('statistics', False), ('gradients', True)]


def test_kernels_by_hand():
  fusion, library_call = hlo.kernels(TWO_REDUCTIONS)
  assert fusion['name'] == 'fusion'
  assert fusion['kind'] == 'fusion Loop'
  assert fusion['op_name'] == 'jit(f)/tanh'
  assert library_call['name'] == 'conv'
  assert library_call['kind'] == '__cudnn$convForward'


def test_a_collective_in_several_fusions_counts_as_one():
  chains = (0, 1, 1, 1, 0)  # 0 only starts and ends; something is computed during 1
  parts = [FUSED_GATHER.format(index=i, chain=chain) for i, chain in enumerate(chains)]
  rows = hlo.collectives(''.join(parts))
  found = [(row['name'], row['bytes'], row['overlapped']) for row in rows]
  assert found == [('all-gather.0', 128, False), ('all-gather.1', 128, True)]


def test_flops_of_a_convolution_by_hand():
  assert hlo.convolution_flops(CONVOLUTION) == 2 * (4 * 4 * 5) * (9 * 3)


def test_flops_of_a_compiled_product():
  compiled = jax.jit(lambda a, b: a @ b).lower(jnp.ones((8, 16)), jnp.ones((16, 4))).compile()
  # A library call is not an instruction of its own.
  assert hlo.convolution_flops(compiled.as_text()) in (0, 2 * 8 * 16 * 4)


@pytest.mark.slow
def test_reductions_of_batch_statistics_are_marked_in_the_compiled_network():
  replicated = AutoEncoder((2, 3), axis_name='replica')
  clips = jnp.zeros((2, 1, 2, 8, 8, 1))
  variables = AutoEncoder((2, 3)).init(jax.random.key(0), clips[0])

  def reconstruct(x):
    return replicated.apply(variables, x, train=True, mutable=['batch_stats'])[0]

  mapped = jax.pmap(reconstruct, axis_name='replica', devices=jax.devices()[:2])
  rows = hlo.collectives(mapped.lower(clips).compile().as_text())
  assert rows
  assert {row['purpose'] for row in rows} == {'statistics'}
