"""The folder of a bundle of any kind: written whole, programs opened."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import export

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import atomic_dir, write_json
from a3dcae_jax.serving import manifest as manifests
from a3dcae_jax.serving.arrays import pack_arrays, unpack_arrays

WEIGHTS = 'weights.npz'


class Program(NamedTuple):
  """A program of a bundle, for callers that compile it themselves.

  Attributes:
    call: function of the arrays and of clips or frames.
    arrays: its first arguments.
  """

  call: Callable[..., Any]
  arrays: Any


def write_folder(
  folder: pathlib.Path | str,
  manifest: Mapping[str, Any],
  *,
  models: Mapping[str, export.Exported],
  weights: Mapping[str, np.ndarray],
  files: Mapping[str, bytes],
) -> None:
  """Write a bundle, whole or not at all; it replaces an older bundle.

  Args:
    folder: folder of the bundle.
    manifest: content of `detector.json`; what it needs to load and the hashes are added.
    models: name of a file -> program.
    weights: arrays that the programs read.
    files: name -> content of each further file.

  Raises:
    UserError: if `folder` exists and is not a bundle.
  """
  check_replaceable(folder)
  written = dict(files)
  for name, model in models.items():
    written[name] = bytes(model.serialize())
  written[WEIGHTS] = pack_arrays(weights)
  sealed = manifests.seal({**manifest, 'loads_with': _requirements(models)}, written)
  with atomic_dir(folder) as temporary:
    for name, content in written.items():
      (temporary / name).write_bytes(content)
    write_json(temporary / manifests.NAME, sealed)


def check_replaceable(folder: pathlib.Path | str) -> None:
  """Check that a bundle may be written to `folder`.

  Raises:
    UserError: if something other than a bundle or an empty folder is there.
  """
  folder = pathlib.Path(folder)
  if not folder.exists() or (folder / manifests.NAME).exists():
    return
  is_empty_folder = folder.is_dir() and not any(folder.iterdir())
  if not is_empty_folder:
    raise UserError(
      f'--bundle={folder} exists and is not a bundle; it would be overwritten: name another folder'
    )


def read_weights(folder: pathlib.Path, files: Mapping[str, bytes]) -> dict[str, np.ndarray]:
  """Return the arrays that the programs of a bundle read.

  Args:
    folder: folder of the bundle, for errors.
    files: name -> content.
  """
  return unpack_arrays(files[WEIGHTS], str(folder / WEIGHTS))


def open_program(content: bytes, path: pathlib.Path) -> export.Exported:
  """Return the program in a file.

  Args:
    content: bytes of the file.
    path: the file, for errors.

  Raises:
    UserError: if this jax cannot read it.
  """
  try:
    return export.deserialize(bytearray(content))
  except Exception as error:  # flatbuffers and jax raise errors of many types
    reason = str(error).splitlines()[0] if str(error) else repr(error)
    raise UserError(
      f'{path} is not a jax.export artefact that jax {jax.__version__} reads: {reason}'
    ) from None


def arguments_of(model: export.Exported, path: pathlib.Path, count: int) -> list[Any]:
  """Return the arguments of a program, as shapes.

  Args:
    model: the program.
    path: its file, for errors.
    count: how many it must have.

  Raises:
    UserError: if it has other arguments.
  """
  arguments, named = jax.tree.unflatten(model.in_tree, model.in_avals)
  if len(arguments) != count or named or not isinstance(arguments[0], dict):
    raise UserError(
      f'{path} takes other arguments than the program of a bundle: export the run again'
    )
  return list(arguments)


def check_weights(
  path: pathlib.Path, name: str, model: export.Exported, weights: Mapping[str, np.ndarray]
) -> None:
  """Check that a program takes the weights.

  Args:
    path: file of the weights, for errors.
    name: file of the program, for errors.
    model: the program, whose first argument is the weights.
    weights: the arrays.

  Raises:
    UserError: naming an array that does not fit.
  """
  (taken, *_), _ = jax.tree.unflatten(model.in_tree, model.in_avals)
  expected = _kinds(taken)
  given = _kinds(weights)
  names = expected.keys() | given.keys()
  wrong = [key for key in sorted(names) if expected.get(key) != given.get(key)]
  if wrong:
    raise UserError(
      f'{path}: {wrong[0]} does not fit what {name} takes ({len(wrong)} arrays in all)'
    )


def compiled(model: export.Exported) -> Callable[..., Any]:
  """Return a program as a function that is compiled once per shape of arguments."""
  options = None
  if jax.default_backend() == 'gpu':
    # Tensor cores read channels last. Without this flag, XLA transposes the inputs and outputs of
    # 3D convolutions to channels first for cuDNN.
    options = {'xla_gpu_force_conv_nhwc': True}
  return jax.jit(model.call, compiler_options=options)


def _requirements(models: Mapping[str, export.Exported]) -> dict[str, Any]:
  """Return the field `loads_with` of the manifest."""
  model = next(iter(models.values()))
  return {
    'jax_at_least': jax.__version__,
    'calling_convention_version': model.calling_convention_version,
    'platforms': list(model.platforms),
    'promise': manifests.PROMISE,
  }


def _kinds(arrays: Mapping[str, Any]) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
  """Return shape and dtype of each array."""
  return {name: (array.shape, array.dtype) for name, array in arrays.items()}
