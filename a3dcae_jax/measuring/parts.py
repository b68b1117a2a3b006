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
  program = program_of(setting, axis_name)
  if setting.of_objects:
    carry = jax.eval_shape(lambda: object_programs.object_carry(setting))
    batch, shared = jax.eval_shape(lambda: object_programs.object_batch(setting))
  else:
    carry = jax.eval_shape(lambda: programs.fresh_state(setting))
    if not setting.trains:
      carry = programs.variables_of(carry)
    batch, shared = programs.input_shapes(setting)
  return Parts(program, carry, batch, (shared,))


def program_of(setting: Setting, axis_name: str | None = None) -> Callable[..., Any]:
  """Return a measured program, without the shapes of its arguments.

  Args:
    setting: the program.
    axis_name: see `parts_of`.
  """
  if setting.of_objects:
    if setting.trains:
      return object_programs.object_train_program(setting, axis_name)
    if setting.mode == programs.DETECT_MODE:
      return object_programs.object_detect_program(setting)
    return object_programs.object_error_program(setting)
  if setting.trains:
    return programs.train_program(setting, axis_name)
  return programs.error_program(setting)
