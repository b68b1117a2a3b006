"""Bytes that a compiled program reads from and writes to a chip's main memory: a count of our own, by where its text says that arrays lie."""

import math
import re
from typing import NamedTuple

from a3dcae_jax.measuring.hlo import BITS, LINE, SHAPE, dims_of, instructions, shape_bytes

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
_PLACED = re.compile(SHAPE.pattern + r'(\{[^}]*\})?')
_COMPUTATION = re.compile(r'^(?:ENTRY )?%?([\w.\-]+) \(.*\{$')
_NAMES = re.compile(r'%([\w.\-]+)')


class Update(NamedTuple):
  """What an instruction does that ends in a dynamic-update-slice: it writes `num_bytes` into its operand `number`, in place (None: into a new array)."""

  number: int | None
  num_bytes: int


def main_memory_bytes(text):
  """Bytes that all instructions read from and write to main memory, by their operands and results.

  XLA's own count knows no place: what is staged on chip it counts when it is fetched, twice, and again when it is used. Of an array that is
  updated in place only the part counts that is written.
  """
  items, updates, total = [item for item in instructions(text) if not item.fused], _updates(text), 0
  places = {item.name: placed_bytes(item.written)[0] for item in items}
  for item in items:
    if item.opcode not in NO_TRAFFIC and not item.opcode.endswith('-done'):
      operands, written = _NAMES.findall(item.rest.split('), ')[0]), places[item.name]
      update = (
        Update(0, places.get(operands[1], 0))
        if item.opcode == 'dynamic-update-slice'
        else updates.get(_called(item))
      )
      if update:
        operands = [name for number, name in enumerate(operands) if number != update.number]
        written = min(written, update.num_bytes)
      read = sum(places.get(name, 0) for name in operands)
      total += written + (
        min(read, item.num_bytes) if item.opcode in SLICES else read
      )  # no more than it cuts out
  return total


def placed_bytes(text):
  """(bytes in the chip's main memory, bytes on chip) of all arrays in an HLO shape: a layout with S(1) is that of a TPU's on-chip memory."""
  places = [0, 0]
  for kind, dims, layout in _PLACED.findall(text):
    places['S(1)' in layout] += math.prod(dims_of(dims)) * BITS[kind] // 8
  return tuple(places)


def _called(item):
  found = re.search(r'calls=%?([\w.\-]+)', item.rest)
  return found.group(1) if found else None


def _updates(text):
  """Computation -> `Update`, of those whose last operation is a dynamic-update-slice."""
  found, name, shapes, parameters = {}, None, {}, {}
  for line in text.splitlines():
    if start := _COMPUTATION.match(line):
      name, shapes, parameters = start.group(1), {}, {}
    elif defined := LINE.match(line):
      result, shape, opcode, rest = defined.groups()
      shapes[result] = shape
      if opcode == 'parameter':
        parameters[result] = int(rest.split(')')[0])
      elif opcode == 'dynamic-update-slice' and line.lstrip().startswith('ROOT'):
        target, part = _NAMES.findall(rest)[:2]
        found[name] = Update(parameters.get(target), shape_bytes(shapes.get(part, '')))
  return found
