"""Frames per second of the networks of several runs, in turn (Table VII)."""

import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from a3dcae_jax.config import fields
from a3dcae_jax.measuring.costs import used_bytes, xla_cost
from a3dcae_jax.measuring.peer import Peer, run_peer
from a3dcae_jax.models.dtypes import compute_dtype
from a3dcae_jax.models.inputs import clip_means
from a3dcae_jax.paper.collect import Result
from a3dcae_jax.run.evaluate import pictures_of_run
from a3dcae_jax.run.workdir import read_config

TURNS = 3
RUNS = 3  # of a network in each turn
REPS = TURNS * RUNS

# Presets of `tools/torch_peer.py`, whose widths a run replaces by its own.
_PEER_PRESETS = {
  'a3dcae': 'paper',
  'conv_ae': 'conv_ae',
  'convlstm_ae': 'convlstm_ae',
  'plain_3d': 'plain_3d',
}


class Speed(NamedTuple):
  """How fast a network scores, and what that takes.

  Attributes:
    frames_per_s: frames per second, clip for clip, with the clips in memory.
    flops_per_frame: FLOPs by XLA's count; None where it has none.
    peak_bytes: memory of the program.
    batch: clips at a time.
    window: frames of a clip.
    peer_frames_per_s: frames per second of the reference implementation; None without one.
    ratios: our frames per second over its, turn by turn.
  """

  frames_per_s: float
  flops_per_frame: float | None
  peak_bytes: int
  batch: int
  window: int
  peer_frames_per_s: float | None = None
  ratios: tuple[float, ...] = ()


class PeerSetting(NamedTuple):
  """What a reference implementation needs to know of a run: see `run_peer`."""

  row: Mapping[str, Any]
  options: str


class _Program(NamedTuple):
  run: Callable[[], None]
  compiled: jax.stages.Compiled
  batch: int
  window: int
  peer_setting: PeerSetting | None


class _Turn(NamedTuple):
  """Seconds of our runs, and frames per second of the reference."""

  seconds: list[float]
  peer_frames_per_s: float | None


def measure(results: Mapping[str, Result], peer: Peer | None = None) -> dict[str, Speed]:
  """Return the speed of the newest checkpoint of each run.

  Args:
    results: name -> results of a run.
    peer: a reference implementation, which follows ours in each turn.

  Raises:
    UserError: if the reference implementation fails.
  """
  programs = {name: _program(result) for name, result in results.items()}
  turns: dict[str, list[_Turn]] = {name: [] for name in programs}
  for program in programs.values():
    program.run()  # the first run is slower
  for _ in range(TURNS):
    for name, program in programs.items():
      turns[name].append(_turn(program, peer))
  return {name: _speed(program, turns[name]) for name, program in programs.items()}


def peer_note(peer: Peer | None) -> str:
  """Return a sentence on the column of the reference implementation."""
  if peer is None:
    return (
      'Beside PyTorch: add --peer=tools/torch_peer.py --peer_python=PYTHON, a Python that has torch'
    )
  options = f' {peer.options}' if peer.options else ''
  return (
    f'PyTorch: {peer.script}{options}, the same sizes and batches with random weights, in a '
    f'process of its own after ours, {TURNS} times; the ratio is the median of these pairs (least '
    'to most). A dash: it does not have this network'
  )


def peer_setting(settings: fields.Config) -> PeerSetting | None:
  """Return the flags with which `tools/torch_peer.py` has the network of a run.

  Args:
    settings: settings of the run.

  Returns:
    None if it does not have that network: with other pools, masked frames or optical flow.
  """
  model = settings.model
  preset = _PEER_PRESETS.get(model.kind)
  plain = model.unpooling == 'recorded' and model.pool_time and not settings.loss.mask_period
  if preset is None or not plain or settings.input.kind != 'frames':
    return None
  row = {
    'mode': 'infer',
    'preset': preset,
    'size_px': f'{settings.data.height}x{settings.data.width}',
    'batch': settings.eval.batch_size,
    'dtype': jnp.dtype(compute_dtype(model.dtype)).name,
  }
  widths = ','.join(map(str, model.widths))
  return PeerSetting(row, f'--widths={widths} --window={settings.clips.window}')


def _program(result: Result) -> _Program:
  pictures = pictures_of_run(result.workdir).pictures
  scorer = pictures.scorer
  settings = read_config(result.workdir)
  batch = settings.eval.batch_size
  count = batch * scorer.window
  frames = pictures.split.frames
  rows = np.arange(count) % len(frames)  # a short set is repeated
  clips = jax.device_put(np.asarray(frames[rows]).reshape(batch, scorer.window, *frames.shape[1:]))
  ids = np.full(batch, pictures.ids[0])
  compiled = scorer.compiled(clips, ids)
  means = clip_means(scorer.mean_images, ids)

  def run() -> None:
    jax.block_until_ready(compiled(scorer.weights, means, clips))

  return _Program(run, compiled, batch, scorer.window, peer_setting(settings))


def _turn(program: _Program, peer: Peer | None) -> _Turn:
  seconds = []
  if peer:
    program.run()  # the other process has used the caches
  for _ in range(RUNS):
    start = time.perf_counter()
    program.run()
    seconds.append(time.perf_counter() - start)
  if not peer or not program.peer_setting:
    return _Turn(seconds, None)
  row, options = program.peer_setting
  found = run_peer(peer, row, reps=RUNS, options=options)
  return _Turn(seconds, program.window * found['clips_per_s'])


def _speed(program: _Program, turns: list[_Turn]) -> Speed:
  frames = program.batch * program.window
  flops = xla_cost(program.compiled).flops
  speed = Speed(
    frames_per_s=frames / float(np.median([turn.seconds for turn in turns])),
    flops_per_frame=None if flops is None else flops / frames,
    peak_bytes=used_bytes(program.compiled),
    batch=program.batch,
    window=program.window,
  )
  theirs = [turn.peer_frames_per_s for turn in turns]
  if None in theirs:
    return speed
  ours = [frames / float(np.median(turn.seconds)) for turn in turns]
  return speed._replace(
    peer_frames_per_s=float(np.median(theirs)),
    ratios=tuple(one / two for one, two in zip(ours, theirs, strict=True)),
  )
