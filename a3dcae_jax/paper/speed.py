"""Frames per second of the networks of several runs, in turn (Table VII)."""

import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np

from a3dcae_jax.measuring.costs import used_bytes, xla_cost
from a3dcae_jax.models.inputs import clip_means
from a3dcae_jax.paper.collect import Result
from a3dcae_jax.run.evaluate import pictures_of_run
from a3dcae_jax.run.workdir import read_config

REPS = 9


class Speed(NamedTuple):
  """How fast a network scores, and what that takes.

  Attributes:
    frames_per_s: frames per second, clip for clip, with the clips in memory.
    flops_per_frame: FLOPs by XLA's count; None where it has none.
    peak_bytes: memory of the program.
    batch: clips at a time.
    window: frames of a clip.
  """

  frames_per_s: float
  flops_per_frame: float | None
  peak_bytes: int
  batch: int
  window: int


class _Program(NamedTuple):
  run: Callable[[], None]
  compiled: jax.stages.Compiled
  batch: int
  window: int


def measure(results: Mapping[str, Result]) -> dict[str, Speed]:
  """Return the speed of the newest checkpoint of each run.

  Args:
    results: name -> results of a run.
  """
  programs = {name: _program(result) for name, result in results.items()}
  seconds: dict[str, list[float]] = {name: [] for name in programs}
  for program in programs.values():
    program.run()  # the first run is slower
  for _ in range(REPS):
    for name, program in programs.items():
      start = time.perf_counter()
      program.run()
      seconds[name].append(time.perf_counter() - start)
  return {name: _speed(program, seconds[name]) for name, program in programs.items()}


def _program(result: Result) -> _Program:
  pictures = pictures_of_run(result.workdir).pictures
  scorer = pictures.scorer
  batch = read_config(result.workdir).eval.batch_size
  count = batch * scorer.window
  frames = pictures.split.frames
  rows = np.arange(count) % len(frames)  # a short set is repeated
  clips = jax.device_put(np.asarray(frames[rows]).reshape(batch, scorer.window, *frames.shape[1:]))
  ids = np.full(batch, pictures.ids[0])
  compiled = scorer.compiled(clips, ids)
  means = clip_means(scorer.mean_images, ids)

  def run() -> None:
    jax.block_until_ready(compiled(scorer.weights, means, clips))

  return _Program(run, compiled, batch, scorer.window)


def _speed(program: _Program, seconds: list[float]) -> Speed:
  frames = program.batch * program.window
  flops = xla_cost(program.compiled).flops
  return Speed(
    frames_per_s=frames / float(np.median(seconds)),
    flops_per_frame=None if flops is None else flops / frames,
    peak_bytes=used_bytes(program.compiled),
    batch=program.batch,
    window=program.window,
  )
