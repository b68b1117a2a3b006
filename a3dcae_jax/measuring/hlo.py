"""Read the text of a compiled program: FLOPs, moves, collectives and kernels."""

import math
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from a3dcae_jax.models.norm import STATISTICS

BITS = {
  'pred': 8,
  's8': 8,
  'u8': 8,
  's16': 16,
  'u16': 16,
  'bf16': 16,
  'f16': 16,
  's32': 32,
  'u32': 32,
  'f32': 32,
  's64': 64,
  'u64': 64,
  'f64': 64,
}
SHAPE = re.compile(r'\b(' + '|'.join(BITS) + r')\[([0-9,]*)\]')
LINE = re.compile(r'^\s*(?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*)$')
OPERAND = re.compile(r'%([\w.\-]+)')
MOVES = ('transpose', 'copy', 'gather', 'scatter', 'copy-start', 'select-and-scatter')
COLLECTIVES = (
  'all-reduce',
  'all-gather',
  'reduce-scatter',
  'all-to-all',
  'collective-permute',
  'all-reduce-start',
  'all-gather-start',
  'collective-permute-start',
)
COMPUTATIONS = ('fusion', 'convolution', 'dot', 'custom-call')


class Instruction(NamedTuple):
  """One line of HLO text.

  Attributes:
    name: name, without the percent sign.
    shape: shape of the result, as in the text.
    opcode: opcode, such as 'convolution'.
    rest: the text after the opening bracket: operands, attributes and metadata.
    fused: whether it is part of a fusion and writes no result to memory.
  """

  name: str
  shape: str
  opcode: str
  rest: str
  fused: bool

  @property
  def written(self) -> str:
    """The shape that is written.

    The start of a copy or a slice also lists its source.
    """
    if self.opcode == 'slice-start':  # ((source), slice, context)
      return self.shape.split('), ')[1].split(', ')[0]
    if self.opcode == 'copy-start':  # (target, source, context)
      return self.shape.removeprefix('(').split(', ')[0]
    return self.shape

  @property
  def num_bytes(self) -> int:
    """Number of bytes that are written."""
    return shape_bytes(self.written)

  @property
  def op_name(self) -> str:
    """The origin of the instruction in our source."""
    found = re.search(r'op_name="([^"]*)"', self.rest)
    return found.group(1) if found else ''


def shape_bytes(text: str) -> int:
  """Return the bytes of a shape such as 'f32[2,3]' or '(bf16[4], u8[4])'."""
  total = 0
  for kind, sizes in SHAPE.findall(text):
    total += math.prod(sizes_of(sizes)) * BITS[kind] // 8
  return total


def sizes_of(text: str) -> list[int]:
  """Return the sizes of a shape's axes, as in '2,3'."""
  return [int(size) for size in text.split(',') if size]


def instructions(text: str) -> Iterator[Instruction]:
  """Yield all instructions in the text of a module."""
  fused = False
  for line in text.splitlines():
    head = line.split('(')[0]
    if line.rstrip().endswith('{') and '=' not in head:  # the first line of a computation
      fused = 'fused' in head or 'fusion' in head
      continue
    found = LINE.match(line)
    if found:
      yield Instruction(*found.groups(), fused)


def convolution_flops(text: str) -> int:
  """Count the FLOPs of the convolutions and matrix products, 2 per multiplication.

  Taps that fall on padding are counted, so this is an upper bound.
  """
  shapes = {}
  total = 0
  for item in instructions(text):
    shapes[item.name] = item.shape
    if item.opcode in ('convolution', 'dot'):
      outputs = math.prod(sizes_of(SHAPE.search(item.shape).group(2)))
      total += 2 * outputs * _products_per_output(item, shapes)
  return total


def _products_per_output(item: Instruction, shapes: Mapping[str, str]) -> int:
  """Return how many products one output of a convolution or matrix product sums.

  It is 0 if the shape of the second operand is not known.
  """
  operands = OPERAND.findall(item.rest.split(')')[0])
  right = SHAPE.search(shapes.get(operands[1], '')) if len(operands) > 1 else None
  if right is None:
    return 0
  sizes = sizes_of(right.group(2))
  if item.opcode == 'dot':
    axes = re.search(r'rhs_contracting_dims=\{([0-9,]+)\}', item.rest)
    if axes is None:
      return 1
    return math.prod(sizes[axis] for axis in sizes_of(axes.group(1)))
  labels = re.search(r'dim_labels=\w+_(\w+)->', item.rest)
  if labels is None:
    return 0
  return math.prod(sizes) // sizes[labels.group(1).index('o')]


def large_moves(text: str, *, min_bytes: int = 2**20) -> list[dict[str, Any]]:
  """List transposes, copies, gathers and scatters that write large results.

  Args:
    text: text of the compiled program.
    min_bytes: the smallest size that is listed.

  Returns:
    Rows of `name`, `opcode`, `shape`, `mb` and `op_name`, the largest first.
  """
  moves = []
  for item in instructions(text):
    if item.opcode in MOVES and not item.fused and item.num_bytes >= min_bytes:
      moves.append(item)
  rows = []
  for item in sorted(moves, key=lambda item: -item.num_bytes):
    rows.append(
      {
        'name': item.name,
        'opcode': item.opcode,
        'shape': item.shape[:80],
        'mb': round(item.num_bytes / 1e6, 2),
        'op_name': item.op_name,
      }
    )
  return rows


def collectives(text: str) -> list[dict[str, Any]]:
  """Return a row for each collective, which sends data between devices.

  A row has the bytes and the number of arrays of the result, and two judgements:

      purpose      'statistics' of batch normalisation, otherwise 'gradients'. The metrics are
                   reduced together with the gradients.
      overlapped   whether something is computed between its start and its end. A collective that
                   starts and ends in one instruction keeps the chip waiting.

  The chains were found in programs compiled by libtpu 0.0.42.1 ("async collective fusion").
  """
  everything = list(instructions(text))
  items = [item for item in everything if not item.fused]
  rows = []
  for index, item in enumerate(items):
    if item.opcode in COLLECTIVES:
      rows.append(_collective_row(item, _is_overlapped(items, index)))
  for parts in _chains(everything):
    rows.append(_collective_row(parts[0], len(parts) > 2))
  return rows


def _chains(items: Sequence[Instruction]) -> Collection[list[Instruction]]:
  """Return the collectives that TPUs run inside fusions.

  Each collective is a list of parts. The first part starts it and the last one ends it; the parts
  between them compute meanwhile.
  """
  chains = {}
  for item in items:
    chain = re.search(r'chain_id="(\d+)"', item.rest)
    if item.fused and item.opcode in COLLECTIVES and chain:
      chains.setdefault(chain.group(1), []).append(item)
  return chains.values()


def _collective_row(item: Instruction, overlapped: bool) -> dict[str, Any]:
  return {
    'name': item.name,
    'opcode': item.opcode,
    'bytes': item.num_bytes,
    'arrays': len(SHAPE.findall(item.shape)),
    'purpose': 'statistics' if STATISTICS in item.op_name else 'gradients',
    'overlapped': overlapped,
  }


def _is_overlapped(items: Sequence[Instruction], index: int) -> bool:
  """Return whether something is computed while a collective runs."""
  start = items[index]
  if not start.opcode.endswith('-start'):
    return False
  for item in items[index + 1 :]:
    if item.opcode.endswith('-done') and f'%{start.name})' in item.rest:
      return False
    if item.opcode in COMPUTATIONS:
      return True
  return False


def kernels(text: str) -> list[dict[str, Any]]:
  """Return the kernels that a GPU program launches, as a profiler would name them.

  Returns:
    Rows of `name`, `kind`, `mb` written and `op_name`, the largest first. The kind is the name of
    a library call (cuDNN, cuBLAS), or 'fusion KIND' for a kernel that XLA writes itself.
  """
  rows = []
  for item in instructions(text):
    if item.fused or item.opcode not in ('fusion', 'custom-call'):
      continue
    rows.append(
      {
        'name': item.name,
        'kind': _kernel_kind(item),
        'mb': round(item.num_bytes / 1e6, 2),
        'op_name': item.op_name,
      }
    )
  return sorted(rows, key=lambda row: -row['mb'])


def _kernel_kind(item: Instruction) -> str:
  if item.opcode == 'custom-call':
    target = re.search(r'custom_call_target="([^"]+)"', item.rest)
    return target.group(1) if target else ''
  if 'triton' in item.rest:
    return 'fusion Triton'
  kind = re.search(r'kind=k(\w+)', item.rest)
  return f'fusion {kind.group(1)}' if kind else 'fusion'
