"""Count the bytes that a compiled program moves to and from a chip's main memory.

The program's text tells in which memory each array lies.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from a3dcae_jax.measuring.hlo import (
  BITS,
  LINE,
  OPERAND,
  SHAPE,
  Instruction,
  instructions,
  shape_bytes,
  sizes_of,
)

NO_TRAFFIC = (
  'parameter',
  'constant',
  'tuple',
  'get-tuple-element',
  'bitcast',
  'while',
  'conditional',
  'call',
)
SLICES = ('slice', 'slice-start', 'dynamic-slice')
_SHAPE_AND_LAYOUT = re.compile(SHAPE.pattern + r'(\{[^}]*\})?')
_ON_CHIP = 'S(1)'  # part of the layout of arrays in on-chip memory
_COMPUTATION = re.compile(r'^(?:ENTRY )?%?([\w.\-]+) \(.*\{$')


class Update(NamedTuple):
  """The write of a computation that ends in a dynamic-update-slice.

  Attributes:
    operand: number of the operand that it updates in place; None if it fills a new array.
    num_bytes: size of the part that it writes.
  """

  operand: int | None
  num_bytes: int


def main_memory_bytes(text: str) -> int:
  """Count the bytes that all instructions read from and write to main memory.

  XLA's own count ignores where arrays lie. It counts an array that is staged on chip twice when it
  is fetched, and again when it is used. Here only main memory counts. Of an array that is updated
  in place, only the part that is written counts.
  """
  items = [item for item in instructions(text) if not item.fused]
  sizes = {item.name: placed_bytes(item.written)[0] for item in items}
  updates = _updates(text)
  total = 0
  for item in items:
    if item.opcode not in NO_TRAFFIC and not item.opcode.endswith('-done'):
      total += _traffic(item, sizes, updates)
  return total


def placed_bytes(text: str) -> tuple[int, int]:
  """Return the bytes in main memory and those on chip of an HLO shape."""
  in_main_memory = 0
  on_chip = 0
  for kind, sizes, layout in _SHAPE_AND_LAYOUT.findall(text):
    num_bytes = math.prod(sizes_of(sizes)) * BITS[kind] // 8
    if _ON_CHIP in layout:
      on_chip += num_bytes
    else:
      in_main_memory += num_bytes
  return in_main_memory, on_chip


def _traffic(
  item: Instruction, sizes: Mapping[str, int], updates: Mapping[str | None, Update]
) -> int:
  """Count the bytes of main memory that one instruction reads and writes."""
  operands = OPERAND.findall(item.rest.split('), ')[0])
  written = sizes[item.name]
  if item.opcode == 'dynamic-update-slice':
    update = Update(0, sizes.get(operands[1], 0))
  else:
    update = updates.get(_called_computation(item))
  if update:
    operands = [name for number, name in enumerate(operands) if number != update.operand]
    written = min(written, update.num_bytes)
  read = sum(sizes.get(name, 0) for name in operands)
  if item.opcode in SLICES:  # a slice reads no more than its result
    read = min(read, item.num_bytes)
  return read + written


def _called_computation(item: Instruction) -> str | None:
  found = re.search(r'calls=%?([\w.\-]+)', item.rest)
  return found.group(1) if found else None


def _updates(text: str) -> dict[str | None, Update]:
  """Return name -> `Update` of the computations that have one."""
  updates = {}
  computation = None
  shapes = {}
  parameters = {}
  for line in text.splitlines():
    start = _COMPUTATION.match(line)
    if start:
      computation = start.group(1)
      shapes = {}
      parameters = {}
      continue
    instruction = LINE.match(line)
    if not instruction:
      continue
    name, shape, opcode, rest = instruction.groups()
    shapes[name] = shape
    if opcode == 'parameter':
      parameters[name] = int(rest.split(')')[0])
    elif opcode == 'dynamic-update-slice' and line.lstrip().startswith('ROOT'):
      target, part = OPERAND.findall(rest)[:2]
      num_bytes = shape_bytes(shapes.get(part, ''))
      updates[computation] = Update(parameters.get(target), num_bytes)
  return updates
