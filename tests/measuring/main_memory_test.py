"""The count of bytes of main memory, on small texts."""

from a3dcae_jax.measuring import hlo, main_memory

STAGED = """
ENTRY %main (x: f32[512,1024]) -> f32[512,1024] {
  %x = f32[512,1024]{1,0:T(8,128)} parameter(0)
  %copy-start = (f32[512,1024]{1,0:T(8,128)S(1)}, f32[512,1024]{1,0:T(8,128)}, u32[]{:S(2)}) \
copy-start(%x)
  %copy-done = f32[512,1024]{1,0:T(8,128)S(1)} copy-done(%copy-start)
  %tanh = f32[512,1024]{1,0:T(8,128)S(1)} fusion(%copy-done), kind=kLoop, calls=%fused
  %slice-start = ((f32[512,1024]{1,0:T(8,128)}), f32[2,1024]{1,0:T(8,128)S(1)}, s32[]{:S(2)}) \
slice-start(%x), slice={[0:2], [0:1024]}
  ROOT %add = f32[512,1024]{1,0:T(8,128)} fusion(%x, %tanh), kind=kLoop, calls=%fused.1
}
"""

UPDATED_IN_PLACE = """
%fused_computation.1 (param_0: f32[1024]) -> f32[4,1024] {
  %param_0 = f32[1024]{0} parameter(0)
  %bitcast.1 = f32[1,1024]{1,0} bitcast(%param_0)
  %custom-call = f32[4,1024]{1,0} custom-call(), custom_call_target="AllocateBuffer"
  %zero.1 = s32[] constant(0)
  ROOT %dynamic-update-slice.1 = f32[4,1024]{1,0} \
dynamic-update-slice(%custom-call, %bitcast.1, %zero.1, %zero.1)
}

%fused_computation.2 (param_0.1: f32[1024], param_1: f32[4,1024]) -> f32[4,1024] {
  %param_0.1 = f32[1024]{0} parameter(0)
  %param_1 = f32[4,1024]{1,0} parameter(1)
  %bitcast.2 = f32[1,1024]{1,0} bitcast(%param_0.1)
  %one = s32[] constant(1)
  %zero.2 = s32[] constant(0)
  ROOT %dynamic-update-slice.2 = f32[4,1024]{1,0} \
dynamic-update-slice(%param_1, %bitcast.2, %one, %zero.2)
}

ENTRY %main (x: f32[1024], y: f32[1024]) -> f32[4,1024] {
  %x = f32[1024]{0:T(1024)} parameter(0)
  %y = f32[1024]{0:T(1024)S(1)} parameter(1)
  %fusion.1 = f32[4,1024]{1,0:T(8,128)} fusion(%x), kind=kLoop, calls=%fused_computation.1
  %fusion.2 = f32[4,1024]{1,0:T(8,128)} \
fusion(%y, %fusion.1), kind=kLoop, calls=%fused_computation.2
  %two = s32[] constant(2)
  %part = f32[1,1024]{1,0:T(8,128)} bitcast(%x)
  ROOT %dynamic-update-slice.3 = f32[4,1024]{1,0:T(8,128)} \
dynamic-update-slice(%fusion.2, %part, %two, %two)
}
"""


def test_arrays_that_are_staged_on_chip_do_not_count_as_traffic():
  whole = 4 * 512 * 1024
  two_rows = 2 * 4 * 1024
  # The array is fetched, read again and written, and two rows are fetched.
  assert main_memory.main_memory_bytes(STAGED) == 3 * whole + two_rows


def test_a_staged_array_counts_as_one_move_although_its_source_is_listed():
  assert [move['mb'] for move in hlo.large_moves(STAGED)] == [2.1]


def test_bytes_are_counted_by_place():
  shape = '(bf16[4]{0:S(1)}, u8[4], f32[2]{0:T(128)})'
  assert main_memory.placed_bytes(shape) == (12, 8)


def test_only_the_updated_part_of_an_array_counts():
  row = 4 * 1024
  index = 4
  # x is read twice, three rows are written, and two indices are read; y lies on chip.
  assert main_memory.main_memory_bytes(UPDATED_IN_PLACE) == 5 * row + 2 * index
