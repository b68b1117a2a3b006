"""Reading of compiled programs: by hand on small texts, and on a program compiled here."""

import jax
import jax.numpy as jnp

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


def test_shape_bytes_by_hand():
  assert hlo.shape_bytes('f32[2,3]{1,0}') == 24
  assert hlo.shape_bytes('(bf16[4], u8[4], f32[])') == 8 + 4 + 4


def test_moves_are_those_that_are_written():
  moves = hlo.large_moves(TEXT)
  assert [(move['name'], move['mb'], move['op_name']) for move in moves] == [
    ('copy.7', 2.1, 'jit(f)/conv1/add')
  ]


def test_collectives_by_hand():
  assert hlo.collectives(TEXT) == [
    {
      'name': 'all-reduce.1',
      'opcode': 'all-reduce',
      'bytes': 2056,
      'arrays': 2,
      'purpose': 'gradients',
      'overlapped': False,
    }
  ]


def test_what_is_computed_between_start_and_end_overlaps():
  text = """
ENTRY %main (x: f32[64]) -> f32[64] {
  %s.1 = f32[64]{0} all-reduce-start(%x), metadata={op_name="jit(f)/conv1/norm.affine/batch_statistics/psum"}
  %d.1 = f32[64]{0} all-reduce-done(%s.1)
  %s.2 = f32[64]{0} all-reduce-start(%d.1), metadata={op_name="jit(f)/psum"}
  %fusion = f32[8,4]{1,0} fusion(%d.1), kind=kLoop, calls=%fused, metadata={op_name="jit(f)/tanh"}
  %conv = (f32[8,4]{1,0}, u8[0]{0}) custom-call(%fusion), custom_call_target="__cudnn$convForward"
  %d.2 = f32[64]{0} all-reduce-done(%s.2)
}
"""
  assert [(row['purpose'], row['overlapped']) for row in hlo.collectives(text)] == [
    ('statistics', False),
    ('gradients', True),
  ]
  assert [(row['name'], row['kind'], row['op_name']) for row in hlo.kernels(text)] == [
    ('fusion', 'fusion Loop', 'jit(f)/tanh'),
    ('conv', '__cudnn$convForward', ''),
  ]


def test_a_collective_inside_of_fusions_is_one():
  part = """
%fused_computation.{0} (p: bf16[2,8]) -> bf16[8,8] {{
  %p.{0} = bf16[2,8]{{1,0}} parameter(0)
  %all-gather.{0} = bf16[8,8]{{1,0}} all-gather(%p.{0}), dimensions={{0}}, frontend_attributes={{chain_id="{1}"}}, metadata={{op_name="jit(f)/fc4"}}
  ROOT %c.{0} = bf16[8,8]{{1,0}} custom-call(%all-gather.{0}), custom_call_target="AsyncCollectiveStart"
}}
"""
  text = ''.join(part.format(index, chain) for index, chain in enumerate((0, 1, 1, 1, 0)))
  rows = hlo.collectives(text)  # chain 0 only starts and ends; beside chain 1 something is computed
  assert [(row['name'], row['bytes'], row['overlapped']) for row in rows] == [
    ('all-gather.0', 128, False),
    ('all-gather.1', 128, True),
  ]


def test_flops_of_convolution_and_product():
  text = """
ENTRY %main () -> f32[1,4,4,5] {
  %a = f32[1,4,4,3]{3,2,1,0} parameter(0)
  %k = f32[3,3,3,5]{3,2,1,0} parameter(1)
  ROOT %c = f32[1,4,4,5]{3,2,1,0} convolution(%a, %k), window={size=3x3 pad=1_1x1_1}, dim_labels=b01f_01io->b01f
}
"""
  assert hlo.convolution_flops(text) == 2 * (4 * 4 * 5) * (9 * 3)
  compiled = jax.jit(lambda a, b: a @ b).lower(jnp.ones((8, 16)), jnp.ones((16, 4))).compile()
  assert hlo.convolution_flops(compiled.as_text()) in (
    0,
    2 * 8 * 16 * 4,
  )  # a library call is no instruction of its own


def test_what_is_sent_for_statistics_is_marked():
  """The network's own reductions carry the mark by which `collectives` tells them from gradients."""
  network, clips = AutoEncoder((2, 3), axis_name='replica'), jnp.zeros((2, 1, 2, 8, 8, 1))
  variables = AutoEncoder((2, 3)).init(jax.random.key(0), clips[0])
  mapped = jax.pmap(
    lambda x: network.apply(variables, x, train=True, mutable=['batch_stats'])[0],
    axis_name='replica',
    devices=jax.devices()[:2],
  )
  compiled = hlo.collectives(mapped.lower(clips).compile().as_text())
  assert compiled and {row['purpose'] for row in compiled} == {'statistics'}
