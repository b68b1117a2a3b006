"""Nodes and arrays of an ONNX file, read without the package `onnx`.

An ONNX file is a message of Protocol Buffers. Only the fields that a network of convolutions needs
are read.

Source: the schema https://github.com/onnx/onnx/blob/main/onnx/onnx.proto and the encoding
https://protobuf.dev/programming-guides/encoding.
"""

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from a3dcae_jax.common.errors import UserError

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}
_LONGEST_VARINT = 10
_FLOAT = 1  # data type of a tensor


class Node(NamedTuple):
  """One operation.

  Attributes:
    kind: as in 'Conv'.
    inputs: names of its inputs.
    integers: attributes that are integers or lists of them, by name.
  """

  kind: str
  inputs: tuple[str, ...]
  integers: Mapping[str, tuple[int, ...]]


class Graph(NamedTuple):
  """What is read of a file.

  Attributes:
    nodes: in the order in which they are computed.
    arrays: float32 arrays by name.
    inputs: shapes of the inputs, without arrays; None stands for any size.
    outputs: shapes of the outputs.
  """

  nodes: list[Node]
  arrays: dict[str, np.ndarray]
  inputs: list[tuple[int | None, ...]]
  outputs: list[tuple[int | None, ...]]


def read_onnx(path: str | pathlib.Path) -> Graph:
  """Return the graph of an ONNX file.

  Raises:
    UserError: if the file does not exist or is not an ONNX file.
  """
  try:
    content = pathlib.Path(path).read_bytes()
  except OSError as error:
    raise UserError(f'{path} cannot be read: {error.strerror}; an ONNX file is needed') from None
  try:
    return _graph(_one(_message(memoryview(content)), 7))
  except (ValueError, IndexError) as error:
    raise UserError(f'{path} is not an ONNX file: {error}') from None


def _graph(content: Any) -> Graph:
  fields = _message(content)
  arrays = dict(_tensor(each) for each in fields.get(5, []))
  inputs = [_value(each) for each in fields.get(11, [])]
  outputs = [_value(each) for each in fields.get(12, [])]
  return Graph(
    [_node(each) for each in fields.get(1, [])],
    {name: array for name, array in arrays.items() if array is not None},
    [shape for name, shape in inputs if name not in arrays],
    [shape for _, shape in outputs],
  )


def _node(content: Any) -> Node:
  fields = _message(content)
  integers = {}
  for each in fields.get(5, []):
    attribute = _message(each)
    values = _integers(attribute.get(8, [])) or _integers(attribute.get(3, []))
    if values:
      integers[_text(_one(attribute, 1))] = values
  inputs = tuple(_text(name) for name in fields.get(1, []))
  return Node(_text(_one(fields, 4)), inputs, integers)


def _tensor(content: Any) -> tuple[str, np.ndarray | None]:
  """Return the name of an array and its values; None if they are not float32."""
  fields = _message(content)
  name = _text(_one(fields, 8))
  raw = b''.join(bytes(part) for part in fields.get(9, []) or fields.get(4, []))
  if _integers(fields.get(2, [])) != (_FLOAT,) or not raw:
    return name, None
  return name, np.frombuffer(raw, '<f4').reshape(_integers(fields.get(1, [])))


def _value(content: Any) -> tuple[str, tuple[int | None, ...]]:
  """Return the name and the shape of an input or output."""
  fields = _message(content)
  kind = _message(_one(_message(_one(fields, 2)), 1))
  sizes = [_integers(_message(size).get(1, [])) for size in _message(_one(kind, 2)).get(1, [])]
  return _text(_one(fields, 1)), tuple(size[0] if size else None for size in sizes)


def _message(content: Any) -> dict[int, list[Any]]:
  """Return the values of all fields of a message by their numbers."""
  if isinstance(content, int):
    raise ValueError('a number stands where a message is expected')
  fields: dict[int, list[Any]] = {}
  position = 0
  while position < len(content):
    key, position = _varint(content, position)
    kind = key & 7
    if kind == _VARINT:
      value, position = _varint(content, position)
    else:
      if kind == _BYTES:
        size, position = _varint(content, position)
      elif kind in _FIXED_SIZES:
        size = _FIXED_SIZES[kind]
      else:
        raise ValueError(f'field {key >> 3} has the unknown type {kind}')
      value = content[position : position + size]
      position += size
      if position > len(content):
        raise ValueError('it ends within a field')
    fields.setdefault(key >> 3, []).append(value)
  return fields


def _varint(content: Sequence[int], position: int) -> tuple[int, int]:
  """Return the integer at a position, and the position after it."""
  value = 0
  for index in range(_LONGEST_VARINT):
    if position >= len(content):
      raise ValueError('it ends within a number')
    byte = content[position]
    position += 1
    value |= (byte & 127) << (7 * index)
    if byte < 128:
      return value, position
  raise ValueError('a number has more than 10 bytes')


def _integers(values: Sequence[Any]) -> tuple[int, ...]:
  """Return integers that are stored one by one or together."""
  return tuple(number for value in values for number in _unpacked(value))


def _unpacked(value: Any) -> Iterator[int]:
  if isinstance(value, int):
    yield value
    return
  position = 0
  while position < len(value):
    number, position = _varint(value, position)
    yield number


def _one(fields: Mapping[int, list[Any]], number: int) -> Any:
  """Return the last value of a field."""
  if number not in fields:
    raise ValueError(f'field {number} is absent')
  return fields[number][-1]


def _text(value: Any) -> str:
  if isinstance(value, int):
    raise ValueError('a number stands where a name is expected')
  return bytes(value).decode('utf-8')
