r"""Measure how fast this machine scores clips and trains on them.

  python -m a3dcae_jax.benchmark --preset=small --batch=4
  python -m a3dcae_jax.benchmark --preset=small,small6 \
    --input_pipeline=none,device_cached,streaming
  python -m a3dcae_jax.benchmark --preset=paper --batch=16 --dtype=bfloat16 \
    --peer=tools/torch_peer.py --peer_python=python3
  python -m a3dcae_jax.benchmark --modes=object_infer,object_train --batch=48 \
    --peer=tools/torch_object_peer.py --peer_python=python3
  python -m a3dcae_jax.benchmark --modes=pipeline --cache=CACHE
  python -m a3dcae_jax.benchmark --modes=ingest --data=ucsd_ped2 --root=PED2
  python -m a3dcae_jax.benchmark --modes=decode
  python -m a3dcae_jax.benchmark --modes=start
  python -m a3dcae_jax.benchmark --modes=objects --cache=CACHE --detector=foreground --batch=128
  python -m a3dcae_jax.benchmark --modes=stream --bundle=camera.bundle

`infer` scores clips, `train` is the full adversarial step. `object_infer` and `object_train` cut
objects out of resident frames, then measure them or train on them, with the networks of the variant
`best`; a clip is an object. Figures are medians after warm-up.
FLOPs are counted for direct convolutions, whatever algorithm is used; the share of this machine's
matrix-product rate is computed from them. XLA's own count is in --json.

--input_pipeline: `none` repeats clips that are on the device, `device_cached` gathers clips from
frames on the device, `streaming` reads them by tf.data. Several pipelines take turns.
--peer: a reference implementation and this one take turns; each pair gives a ratio of clips/s.

`decode` makes videos in a temporary folder and decodes them: with one thread, with all cores within
one video, and several videos at once; with conversion and resizing; and as `prepare` and `detect`
do.
`start` measures how long `main` takes to its first update and scores, with and without kept
compiled programs.
`pipeline` reads training clips from a frame cache by tf.data, without a network. `ingest` reads a
data set into a temporary frame cache. `objects` finds and measures objects in the frames of a
cache, with the networks of the variant `best`.

`stream` finds how many cameras of 25 frames/s `detect` carries on this machine: no frame is
dropped, and 99 % of the scores come at most 0.5 s later than their windows allow. Cameras are
simulated: with frames in memory; with H.264 of 640x360 that is decoded; and the same while a
browser on this machine shows the live page. Without --bundle, a detector with random parameters is
measured, whose windows lie back to back.
"""

import functools
import pathlib
import statistics
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import flags

from a3dcae_jax.cli.command import (
  define_compilation_cache,
  define_peer_flags,
  define_program_flags,
  given_path,
  output_path,
  run_command,
)
from a3dcae_jax.common.jax_environment import check_devices

_READING_MODES = ('pipeline', 'ingest', 'decode', 'start', 'objects')

_PRESET = flags.DEFINE_list(
  'preset',
  ['small'],
  'Networks: paper, paper6, small, small6, tiny; the compared networks conv_ae, convlstm_ae, '
  'plain_3d, small_conv_ae, small_convlstm_ae, small_plain_3d; or several.',
)
_BATCH = flags.DEFINE_list('batch', ['4'], 'Clips per batch; or several, as in 8,16,32.')
_MODES = flags.DEFINE_list(
  'modes',
  ['infer', 'train'],
  'infer, train, object_infer, object_train; or pipeline, ingest, decode, start, objects; '
  'or stream.',
)
_DTYPE = flags.DEFINE_string(
  'dtype', 'auto', 'float32 or bfloat16; auto: bfloat16 on accelerators, float32 on CPUs.'
)
_SIZE = flags.DEFINE_integer('size', 0, "Frame height and width in pixels; 0: the preset's.")
_PROGRAM = define_program_flags()
_INPUT_PIPELINE = flags.DEFINE_list(
  'input_pipeline', ['none'], 'none, device_cached, streaming; or several, which take turns.'
)
_STEPS = flags.DEFINE_integer(
  'steps',
  1,
  'Steps per timed run. With several, an input pipeline cannot have read all batches ahead.',
  lower_bound=1,
)
_REPS = flags.DEFINE_integer('reps', 9, 'Timed runs of each program.', lower_bound=1)
_JSON = flags.DEFINE_string('json', '', 'Write all figures to this file.')
_PEER = define_peer_flags()
_PEER_TUNED = flags.DEFINE_bool(
  'peer_tuned', True, 'Give the reference implementation the allocator settings of this process.'
)
_PAIRS = flags.DEFINE_integer(
  'pairs', 3, 'Number of alternating measurements of the two implementations.', lower_bound=1
)
_CACHE = flags.DEFINE_string('cache', '', 'Frame cache that the modes pipeline and objects read.')
_DETECTOR = flags.DEFINE_string(
  'detector',
  '',
  'Detector of the mode objects, as in objects.detector, by default foreground; or file of the '
  'detector of objects for --bundle.',
)
_BUNDLE = flags.DEFINE_string('bundle', '', 'Folder of the bundle that the mode stream measures.')
_CAMERAS = flags.DEFINE_integer(
  'cameras',
  0,
  'Cameras that the mode stream tries; 0: find the largest number that is carried.',
  lower_bound=0,
)
_DATA = flags.DEFINE_string('data', '', 'Data set that the mode ingest reads.')
_ROOT = flags.DEFINE_string('root', '', 'Folder of that data set.')
_SECONDS = flags.DEFINE_float(
  'seconds', 20.0, 'How long the mode pipeline reads, and each trial of the mode stream takes.'
)
define_compilation_cache(default=False)  # compilation is timed


def main() -> None:
  """Measure what the flags ask for."""
  if 'stream' in _MODES.value:
    _measure_cameras()
    return
  _check_modes()  # imports NumPy, before which the mode stream sets the threads of BLAS
  if set(_READING_MODES) & set(_MODES.value):
    _measure_reading()
  else:
    _measure_programs()


def _check_modes() -> None:
  """Check that all modes exist."""
  from a3dcae_jax.common.errors import UserError
  from a3dcae_jax.measuring.programs import MODES, OBJECT_MODES

  known = (*MODES, *OBJECT_MODES, *_READING_MODES, 'stream')
  for mode in _MODES.value:
    if mode not in known:
      raise UserError(f'--modes {mode!r}: known are {", ".join(known)}')


def _measure_cameras() -> None:
  """Find how many cameras this machine carries."""
  from a3dcae_jax.common.errors import UserError
  from a3dcae_jax.common.files import write_json
  from a3dcae_jax.common.tuning import use_one_blas_thread

  if _MODES.value != ['stream']:
    raise UserError(f'--modes={",".join(_MODES.value)}: stream goes with no other mode')
  bundle = given_path(_BUNDLE)
  json_file = output_path(_JSON)
  use_one_blas_thread()  # as detect does, which keeps compiled programs, too
  check_devices()
  from a3dcae_jax.common.compilation_cache import use_compilation_cache
  from a3dcae_jax.measuring.programs import settings_of
  from a3dcae_jax.measuring.random_bundle import write_random_bundle
  from a3dcae_jax.watching import capacity

  use_compilation_cache(True)
  with tempfile.TemporaryDirectory(prefix='bundle-') as folder:
    if not bundle:
      (setting, *_) = settings_of(
        _PRESET.value, ['infer'], ['1'], dtype=_DTYPE.value, size_px=_SIZE.value
      )
      bundle = f'{folder}/random.bundle'
      write_random_bundle(pathlib.Path(bundle), setting)
    rows = []
    for row in capacity.measure_cameras(
      bundle, detector=_DETECTOR.value, cameras=_CAMERAS.value, seconds=_SECONDS.value
    ):
      print(capacity.describe(row), flush=True)
      rows.append(row)
      if json_file:
        write_json(json_file, {'rows': rows})


def _measure_reading() -> None:
  """Measure the modes that take no settings of a network."""
  from a3dcae_jax.common.errors import UserError
  from a3dcae_jax.common.files import write_json
  from a3dcae_jax.measuring.programs import batch_sizes

  if not all(_has_source(mode) for mode in _MODES.value):
    raise UserError(
      f'--modes={",".join(_MODES.value)}: pipeline and objects need --cache, ingest needs --data; '
      'none of them goes with infer or train'
    )
  batches = batch_sizes(_BATCH.value)
  json_file = output_path(_JSON)
  check_devices()
  rows = []
  for mode in _MODES.value:
    rows += _reading_rows(mode, batches)
  if json_file:
    write_json(json_file, {'rows': rows})


def _has_source(mode: str) -> bool:
  """Return whether a mode of `_measure_reading` has the data that it reads."""
  makes_its_own = mode in ('decode', 'start')
  sources = {'pipeline': _CACHE.value, 'ingest': _DATA.value, 'objects': _CACHE.value}
  return makes_its_own or bool(sources.get(mode))


def _reading_rows(mode: str, batches: Sequence[int]) -> list[dict[str, Any]]:
  """Measure one mode, print its rows and return them."""
  from a3dcae_jax.measuring import decoding, input_pipeline, object_rates, starting

  if mode == 'start':
    return _printed(starting.measure_all_starts(), starting.describe)
  if mode == 'decode':
    rows = decoding.measure_decoding({'detect': _watch}, reps=_REPS.value)
    return _printed(rows, decoding.describe)
  if mode == 'ingest':
    size = _SIZE.value or 224
    row = input_pipeline.measure_ingest(_DATA.value, _ROOT.value, height=size, width=size)
    return _printed([row], input_pipeline.describe)
  if mode == 'pipeline':
    measure = functools.partial(
      input_pipeline.measure_pipeline, _CACHE.value, seconds=_SECONDS.value
    )
    return _printed((measure(batch_size=batch) for batch in batches), input_pipeline.describe)
  detector = _DETECTOR.value or 'foreground'
  measure = functools.partial(
    object_rates.measure_objects, _CACHE.value, detector=detector, variants='best'
  )
  return _printed((measure(batch_size=batch) for batch in batches), object_rates.describe)


def _printed(
  rows: Iterable[dict[str, Any]], describe: Callable[[Mapping[str, Any]], str]
) -> list[dict[str, Any]]:
  """Print each row as soon as it is measured, and return all."""
  found = []
  for row in rows:
    print(describe(row), flush=True)
    found.append(row)
  return found


def _watch(path) -> None:
  """Read a video to its end as `detect` reads it."""
  from a3dcae_jax.measuring.decoding import RESIZED_SHAPE
  from a3dcae_jax.watching.capture import Format, capture
  from a3dcae_jax.watching.sources import Source

  source = Source(str(path), 'file', path.stem, path.name)
  for _ in capture(source, Format(*RESIZED_SHAPE, frames_per_s=25)):
    pass


def _measure_programs() -> None:
  """Measure scoring and training for all presets and batches."""
  from a3dcae_jax.common.files import write_json
  from a3dcae_jax.measuring import timing

  settings = _settings()
  json_file = output_path(_JSON)
  check_devices()
  facts = timing.device_facts()
  matrix_rate = timing.matrix_rate(_DTYPE.value)
  print(', '.join(facts.values()) + f', matrix product {matrix_rate:.3g} TFLOP/s')
  rows = []
  for setting in settings:
    rows += _measure(setting, matrix_rate)
    if json_file:  # after each setting, to keep what was measured if a later one fails
      write_json(json_file, {**facts, 'matrix_tflops_per_s': matrix_rate, 'rows': rows})
  print(timing.figures_table(rows))


def _settings():
  """Return the settings that the flags ask for, after all flags have been checked."""
  from a3dcae_jax.common.errors import UserError
  from a3dcae_jax.measuring.programs import OBJECT_MODES, settings_of
  from a3dcae_jax.measuring.timed_batches import check_input_pipeline

  for name in _INPUT_PIPELINE.value:
    check_input_pipeline(name)
  if set(OBJECT_MODES) & set(_MODES.value) and _INPUT_PIPELINE.value != ['none']:
    raise UserError('--input_pipeline does not go with object_infer and object_train: leave it out')
  return settings_of(
    _PRESET.value,
    _MODES.value,
    _BATCH.value,
    dtype=_DTYPE.value,
    size_px=_SIZE.value,
    **_PROGRAM.values(),
  )


def _measure(setting, matrix_rate):
  """Measure one setting and return a row per input pipeline and pair."""
  from a3dcae_jax.measuring import timing

  programs = [timing.make_program(setting, name) for name in _INPUT_PIPELINE.value]
  peer = _PEER.given()
  num_pairs = _PAIRS.value if peer else 1
  rows = []
  for pair in range(num_pairs):
    measured = timing.measure(programs, setting, reps=_REPS.value, steps=_STEPS.value)
    for row in measured:
      row['share_of_matrix_rate'] = row['tflops_per_s'] / matrix_rate
    if peer:
      _add_peer(measured[0], pair, peer._replace(tuned=_PEER_TUNED.value))
    for row in measured:
      print(timing.describe(row), flush=True)
    rows += measured
  if peer:
    ratio = statistics.median(row['ratio'] for row in rows if 'ratio' in row)
    print(f'{setting.mode} batch {setting.batch}: median ratio to the reference {ratio:.2f}')
  return rows


def _add_peer(row, pair, peer):
  """Run the reference implementation and add its figures to a row."""
  from a3dcae_jax.measuring.peer import run_peer

  found = run_peer(peer, row, reps=_REPS.value)
  row['pair'] = pair
  row['peer'] = found
  row['ratio'] = row['clips_per_s'] / found['clips_per_s']


if __name__ == '__main__':
  run_command(main, usage=__doc__)
