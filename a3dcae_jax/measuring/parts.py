"""A measured program with the shapes of its arguments, whatever its mode."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from a3dcae_jax.measuring import object_programs, programs
from a3dcae_jax.measuring.programs import Setting


class Parts(NamedTuple):
  """A program (carry, batch, *shared) -> results, and the shapes of its arguments.

  Attributes:
    program: the function.
    carry: the state of training, or the weights.
    batch: a tree of arrays [B, ...].
    shared: what all replicas read whole: a mean image, or frames.
  """

  program: Callable[..., Any]
  carry: Any
  batch: Any
  shared: tuple[Any, ...]


def parts_of(setting: Setting, axis_name: str | None = None) -> Parts:
  """Return the parts of a measured program.

  Args:
    setting: the program.
    axis_name: the mapped axis of data-parallel replicas; None for a single replica.
  """
  if setting.of_objects:
    return _object_parts(setting, axis_name)
  state = jax.eval_shape(lambda: programs.fresh_state(setting))
  clips, mean_image = programs.input_shapes(setting)
  if setting.trains:
    return Parts(programs.train_program(setting, axis_name), state, clips, (mean_image,))
  return Parts(programs.error_program(setting), programs.variables_of(state), clips, (mean_image,))


def _object_parts(setting, axis_name):
  carry = jax.eval_shape(lambda: object_programs.object_carry(setting))
  batch, frames = jax.eval_shape(lambda: object_programs.object_batch(setting))
  program = object_programs.object_error_program(setting)
  if setting.trains:
    program = object_programs.object_train_program(setting, axis_name)
  return Parts(program, carry, batch, (frames,))
