"""The program of an evaluation, compiled beside the first one of training."""

import contextlib
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, NamedTuple

import jax
import numpy as np

from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.clip_program import ClipProgram
from a3dcae_jax.evaluation.object_scorer import make_object_recipe, object_program
from a3dcae_jax.evaluation.program import make_recipe, scoring_weights
from a3dcae_jax.evaluation.scorer import map_scoring
from a3dcae_jax.run.objects import object_batch_size
from a3dcae_jax.run.train import fresh_state
from a3dcae_jax.training import parallel


class EvaluationProgram(NamedTuple):
  """The program of an evaluation.

  Attributes:
    program: a scorer takes it instead of making its own.
    compile: compiles it for the batches of the run.
  """

  program: ClipProgram | parallel.LocalMap
  compile: Callable[[], None]


def evaluation_program(
  settings: fields.Config, cache: FrameCache, inputs: InputStatistics
) -> EvaluationProgram:
  """Return the program that will score a run, not yet compiled."""
  if settings.objects.detector:
    return _of_objects(settings, cache)
  return _of_frames(settings, cache, inputs)


@contextlib.contextmanager
def beside(work: Callable[[], None]) -> Iterator[Callable[[], Any]]:
  """Give a function that starts `work` in a thread, and wait for its end.

  Compilers release the lock of Python. What fails here is tried again where it is needed. On CPUs
  the function does nothing: one compilation keeps the cores busy, and training does, too. Measured
  on two cores for `best`: the first update came after 24 s instead of 18, the scores no earlier.
  """
  with futures.ThreadPoolExecutor(1, 'compile') as pool:
    on_cpu = jax.default_backend() == 'cpu'
    yield lambda: None if on_cpu else pool.submit(work)


def _of_objects(settings, cache):
  program = ClipProgram(object_program(make_object_recipe(settings)))
  rows = np.zeros((1, settings.clips.window), np.int32)
  corners = np.zeros((1, 4), np.float32)

  def compile_all():
    weights = _weight_shapes(settings)
    for split in (cache.train, cache.test):  # the calibration, then the scores
      program.compile(weights, split.frames, (rows, corners), object_batch_size(settings))

  return EvaluationProgram(program, compile_all)


def _of_frames(settings, cache, inputs):
  program = map_scoring(make_recipe(settings, inputs.row_scale))
  size = settings.eval.batch_size * parallel.num_local()
  image = cache.train.frames.shape[1:]

  def compile_all():
    if settings.eval.error == 'local':  # reads statistics that are not known yet
      return
    means = jax.ShapeDtypeStruct((size, 1, *image), np.float32)
    clips = jax.ShapeDtypeStruct((size, settings.clips.window, *image), np.uint8)
    program.compile(_weight_shapes(settings), means, clips)

  return EvaluationProgram(program, compile_all)


def _weight_shapes(settings):
  return scoring_weights(jax.eval_shape(lambda: fresh_state(settings)))
