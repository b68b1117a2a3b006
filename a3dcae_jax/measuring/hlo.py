"""Reads a compiled program's text: where its FLOPs are, what it moves about, what it sends between devices."""

import math
import re
from typing import NamedTuple

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
WORK = ('fusion', 'convolution', 'dot', 'custom-call')


class Instruction(NamedTuple):
  """One line of HLO text. `num_bytes` of what it gives; `op_name` where in our code it comes from."""

  name: str
  shape: str
  opcode: str
  rest: str
  fused: bool

  @property
  def written(self):
    """The shape of what it writes; those of a copy's and a slice's start list their source beside it."""
    if self.opcode == 'slice-start':  # ((source), slice, context)
      return self.shape.split('), ')[1].split(', ')[0]
    return (
      self.shape.removeprefix('(').split(', ')[0] if self.opcode == 'copy-start' else self.shape
    )

  @property
  def num_bytes(self):
    return shape_bytes(self.written)

  @property
  def op_name(self):
    found = re.search(r'op_name="([^"]*)"', self.rest)
    return found.group(1) if found else ''


def shape_bytes(text):
  """Bytes of all arrays in an HLO shape such as 'f32[2,3]' or '(bf16[4], u8[4])'."""
  return sum(math.prod(dims_of(dims)) * BITS[kind] // 8 for kind, dims in SHAPE.findall(text))


def instructions(text):
  """All instructions of a module's text. `fused`: inside a fusion's computation, where nothing is written to memory."""
  fused = False
  for line in text.splitlines():
    if line.rstrip().endswith('{') and '=' not in line.split('(')[0]:
      fused = 'fused' in line.split('(')[0] or 'fusion' in line.split('(')[0]
      continue
    found = LINE.match(line)
    if found:
      yield Instruction(*found.groups(), fused)


def convolution_flops(text):
  """FLOPs of the convolutions and matrix products, 2 a multiplication. Taps that fall on padding are counted: an upper bound."""
  shapes, total = {}, 0
  for item in instructions(text):
    shapes[item.name] = item.shape
    if item.opcode in ('convolution', 'dot'):
      total += 2 * math.prod(dims_of(SHAPE.search(item.shape).group(2))) * _contracted(item, shapes)
  return total


def _contracted(item, shapes):
  operands = re.findall(r'%([\w.\-]+)', item.rest.split(')')[0])
  right = SHAPE.search(shapes.get(operands[1], '')) if len(operands) > 1 else None
  if right is None:
    return 0
  dims = dims_of(right.group(2))
  if item.opcode == 'dot':
    axes = re.search(r'rhs_contracting_dims=\{([0-9,]+)\}', item.rest)
    return math.prod(dims[int(axis)] for axis in axes.group(1).split(',')) if axes else 1
  labels = re.search(r'dim_labels=\w+_(\w+)->', item.rest)
  return math.prod(dims) // dims[labels.group(1).index('o')] if labels else 0


def large_moves(text, *, min_bytes=2**20):
  """Transposes, copies, gathers and scatters that write at least `min_bytes` to memory, the largest first."""
  found = [
    item
    for item in instructions(text)
    if item.opcode in MOVES and not item.fused and item.num_bytes >= min_bytes
  ]
  return [
    {
      'name': item.name,
      'opcode': item.opcode,
      'shape': item.shape[:80],
      'mb': round(item.num_bytes / 1e6, 2),
      'op_name': item.op_name,
    }
    for item in sorted(found, key=lambda item: -item.num_bytes)
  ]


def collectives(text):
  """What is sent between devices: a row for each collective, with the bytes of its result.

  `purpose`: 'statistics' of batch normalisation, else 'gradients' (and metrics, which ride along). `overlapped`: something is computed
  between its start and its end; a collective that starts and ends in one instruction keeps the chip waiting.
  Source of the chains: programs that libtpu 0.0.42.1 compiles (its "async collective fusion").
  """
  everything = list(instructions(text))
  items = [item for item in everything if not item.fused]
  rows = [
    _sent(item, _overlapped(items, place))
    for place, item in enumerate(items)
    if item.opcode in COLLECTIVES
  ]
  return rows + [_sent(parts[0], len(parts) > 2) for parts in _chains(everything)]


def _chains(items):
  """Collectives that TPUs run inside of fusions: one starts it, one ends it, and those between compute while it goes on."""
  chains = {}
  for item in items:
    if (
      item.fused
      and item.opcode in COLLECTIVES
      and (chain := re.search(r'chain_id="(\d+)"', item.rest))
    ):
      chains.setdefault(chain.group(1), []).append(item)
  return chains.values()


def _sent(item, overlapped):
  return {
    'name': item.name,
    'opcode': item.opcode,
    'bytes': item.num_bytes,
    'arrays': len(SHAPE.findall(item.shape)),
    'purpose': 'statistics' if STATISTICS in item.op_name else 'gradients',
    'overlapped': overlapped,
  }


def _overlapped(items, place):
  start = items[place]
  if not start.opcode.endswith('-start'):
    return False
  for item in items[place + 1 :]:
    if item.opcode.endswith('-done') and f'%{start.name})' in item.rest:
      return False
    if item.opcode in WORK:
      return True
  return False


def kernels(text):
  """Rows of what a GPU program launches, as a profiler would name it: `name`, `kind`, `mb` written, `op_name`; largest first.

  kind: the library's name of a call (cuDNN, cuBLAS), or 'fusion KIND' of a kernel that XLA writes itself.
  """
  rows = []
  for item in instructions(text):
    if not item.fused and item.opcode in ('fusion', 'custom-call'):
      kind = re.search(
        r'custom_call_target="([^"]+)"' if item.opcode == 'custom-call' else r'kind=k(\w+)',
        item.rest,
      )
      triton = 'triton' in item.rest and item.opcode == 'fusion'
      kind = (
        (kind.group(1) if kind else '')
        if item.opcode == 'custom-call'
        else f'fusion {"Triton" if triton else kind and kind.group(1)}'
      )
      rows.append(
        {
          'name': item.name,
          'kind': kind,
          'mb': round(item.num_bytes / 1e6, 2),
          'op_name': item.op_name,
        }
      )
  return sorted(rows, key=lambda row: -row['mb'])


def dims_of(text):
  return [int(size) for size in text.split(',') if size]
