"""Measure frames/s of scoring and of the full adversarial step, beside this machine's own matrix-product rate and beside a peer.

  python -m a3dcae_jax.benchmark --preset=small --batch=4
  python -m a3dcae_jax.benchmark --preset=paper --batch=16 --dtype=bfloat16 --peer=torch_peer.py --peer_python=python3

  python -m a3dcae_jax.benchmark --preset=small,small6 --input_pipeline=none,device_cached,streaming
  python -m a3dcae_jax.benchmark --modes=pipeline --cache=CACHE
  python -m a3dcae_jax.benchmark --modes=ingest --data=ucsd_ped2 --root=PED2

With a peer, the two take turns, pair by pair, and the ratio of clips/s is printed for each pair. Several input_pipelines (none: clips that lie ready;
resident: frames on the device; streamed: tf.data) take turns too. Medians after warm-up. FLOPs are those of the network by the direct method,
whatever the program makes of it, and the share of the matrix rate is in these; XLA's own count of the program stands beside them in --json.
`pipeline` reads training clips of a prepared cache through tf.data; `ingest` prepares a data set into a cache that is thrown away.
"""

import statistics
import sys

from absl import flags

from a3dcae_jax.cli.command import run_command
from a3dcae_jax.common.frame_rms import TUNED_RMS

_PRESET = flags.DEFINE_list('preset', ['small'], 'paper, paper6, small, small6, tiny, or several.')
_BATCH = flags.DEFINE_list(
  'batch', ['4'], 'Clips a batch; several, as in 8,16,32, are measured one after another.'
)
_MODES = flags.DEFINE_list('modes', ['infer', 'train'], 'infer, train, pipeline, ingest.')
_DTYPE = flags.DEFINE_string(
  'dtype', 'auto', 'float32, bfloat16; auto is bfloat16 on accelerators.'
)
_SIZE = flags.DEFINE_integer('size', 0, "Frame height and width, pixels; 0 is the preset's.")
_CONV_ALGORITHM = flags.DEFINE_string(
  'conv_algorithm', 'auto', 'Of 3D convolutions: auto, direct, folded, summed.'
)
_SPLIT = flags.DEFINE_bool('polyphase', True, 'Compute the outer layers by pool phase.')
_TARGET_RMS = flags.DEFINE_float(
  'target_rms',
  TUNED_RMS,
  'What frames are normalised to, as in :paper and :small; 0 leaves them as they are.',
)
_REMAT = flags.DEFINE_enum(
  'remat', 'none', ['none', 'blocks'], 'What is computed again for the gradient.'
)
_INPUT_PIPELINE = flags.DEFINE_list(
  'input_pipeline', ['none'], 'none, device_cached, streaming, or several, which take turns.'
)
_STEPS = flags.DEFINE_integer(
  'steps',
  1,
  'Steps a timed run: more of them show what a input_pipeline costs once nothing is stored up.',
)
_REPS = flags.DEFINE_integer('reps', 9, 'Timed runs of each.')
_JSON = flags.DEFINE_string('json', '', 'Write all figures to this file.')
_PEER = flags.DEFINE_string(
  'peer', '', 'Script of another implementation that prints one JSON line.'
)
_PEER_PYTHON = flags.DEFINE_string('peer_python', sys.executable, 'Python that runs the peer.')
_PEER_OPTIONS = flags.DEFINE_string(
  'peer_options', '', 'Further flags of the peer, as in "--compile max-autotune".'
)
_PEER_TUNED = flags.DEFINE_bool(
  'peer_tuned', True, "Give the peer this process's allocator settings."
)
_PAIRS = flags.DEFINE_integer('pairs', 3, 'How often the two take turns.')

_CACHE = flags.DEFINE_string('cache', '', 'Frame cache that the mode pipeline reads.')
_DATA = flags.DEFINE_string('data', '', 'Data set that the mode ingest prepares.')
_ROOT = flags.DEFINE_string('root', '', 'Its folder.')
_SECONDS = flags.DEFINE_float('seconds', 20.0, 'How long the mode pipeline reads.')


def _feed():
  """Rows of the modes that measure footage alone, without a network."""
  from a3dcae_jax.common.errors import UserError
  from a3dcae_jax.measuring import input_pipeline as input_pipeline

  rows = []
  for mode in _MODES.value:
    if mode == 'pipeline' and _CACHE.value:
      rows += [
        input_pipeline.measure_pipeline(_CACHE.value, batch_size=int(batch), seconds=_SECONDS.value)
        for batch in _BATCH.value
      ]
    elif mode == 'ingest' and _DATA.value:
      rows.append(
        input_pipeline.measure_ingest(
          _DATA.value, _ROOT.value, height=_SIZE.value or 224, width=_SIZE.value or 224
        )
      )
    else:
      raise UserError(
        f'--modes={",".join(_MODES.value)}: pipeline needs --cache, ingest needs --data; neither goes with infer or train'
      )
  for row in rows:
    print(input_pipeline.line(row))
  return rows


def main():
  from a3dcae_jax.common.files import write_json

  if {'pipeline', 'ingest'} & set(_MODES.value):
    rows = _feed()
    if _JSON.value:
      write_json(_JSON.value, {'rows': rows})
    return
  from a3dcae_jax.measuring import timing

  rows, rate = [], timing.matrix_rate(_DTYPE.value)
  facts = timing.device_facts() | {'matrix_tflops_per_s': rate}
  print(
    ', '.join(
      f'{name} {value:.3g}' if isinstance(value, float) else f'{name} {value}'
      for name, value in facts.items()
    )
  )
  for setting in _settings():
    rows += _measure(timing, setting, rate)
    if _JSON.value:
      write_json(
        _JSON.value, facts | {'rows': rows}
      )  # after each setting: what was measured is kept
  print(_table(rows))


def _settings():
  from a3dcae_jax.measuring.programs import Setting, check_setting

  return [
    check_setting(
      Setting(
        mode,
        preset,
        batch,
        _DTYPE.value,
        size_px=_SIZE.value,
        conv_algorithm=_CONV_ALGORITHM.value,
        polyphase=_SPLIT.value,
        remat=_REMAT.value,
        target_rms=_TARGET_RMS.value,
      )
    )
    for preset in _PRESET.value
    for mode in _MODES.value
    for batch in map(int, _BATCH.value)
  ]


def _measure(timing, setting, rate):
  from a3dcae_jax.measuring.peer import run_peer

  programs, rows = (
    [timing.make_program(setting, input_pipeline) for input_pipeline in _INPUT_PIPELINE.value],
    [],
  )
  for pair in range(_PAIRS.value if _PEER.value else 1):
    measured = timing.measure(programs, setting, reps=_REPS.value, steps=_STEPS.value)
    for row in measured:
      row |= {
        'share_of_matrix_rate': row['tflops_per_s'] / rate,
        'of_first_pipeline': row['clips_per_s'] / measured[0]['clips_per_s'],
      }
    if _PEER.value:
      row = measured[0]
      peer = run_peer(
        _PEER_PYTHON.value,
        _PEER.value,
        row,
        reps=_REPS.value,
        options=_PEER_OPTIONS.value,
        tuned=_PEER_TUNED.value,
      )
      row |= {'pair': pair, 'peer': peer, 'ratio': row['clips_per_s'] / peer['clips_per_s']}
    rows += measured
    for row in measured:
      print(_line(row), flush=True)
  if _PEER.value:
    median = statistics.median(row['ratio'] for row in rows if 'ratio' in row)
    print(f'{setting.mode} batch {setting.batch}: median ratio to the peer {median:.2f}')
  return rows


def _line(row):
  share = f', {100 * row["share_of_matrix_rate"]:.0f} % of the matrix rate'
  memory = f', peak {row["peak_gib"]:.1f} GiB' if row['peak_gib'] else ''
  peer = (
    f'; peer {row["peer"]["clips_per_s"]:.2f} clips/s, ratio {row["ratio"]:.2f}'
    if 'peer' in row
    else ''
  )
  return (
    f'{row["mode"]:5s} {row["preset"]} {row["size_px"]} px, batch {row["batch"]}, {row["dtype"]}, target_rms {row["target_rms"]:g}, '
    f'fed {row["input_pipeline"]}: {row["frames_per_s"]:,.0f} frames/s, {row["clips_per_s"]:.2f} clips/s, {1e3 * row["median_s"]:.1f} ms, '
    f'compiled in {row["compile_s"]:.0f} s{memory}{share}{peer}'
  )


_COLUMNS = (
  ('mode', '{mode}'),
  ('preset', '{preset}'),
  ('px', '{size_px}'),
  ('batch', '{batch}'),
  ('dtype', '{dtype}'),
  ('target_rms', '{target_rms:g}'),
  ('fed', '{input_pipeline}'),
  ('frames/s', '{frames_per_s:,.0f}'),
  ('clips/s', '{clips_per_s:,.2f}'),
  ('of the first', '{of_first_pipeline:.3f}'),
  ('ms a step', '{ms:,.1f}'),
  ('compiled in s', '{compile_s:.0f}'),
  ('M parameters', '{millions:,.2f}'),
  ('GFLOP a clip', '{gflops:,.1f}'),
  ('% of matrix rate', '{percent:.0f}'),
  ('program GiB', '{program_gib:.2f}'),
  ('peak GiB', '{peak_gib:.2f}'),
  ('peer clips/s', '{peer[clips_per_s]:.2f}'),
  ('ratio', '{ratio:.2f}'),
)


def _table(rows):
  from a3dcae_jax.measuring.columns import table

  shown = [
    {'peer': None, 'ratio': None}
    | row
    | {
      'ms': 1e3 * row['median_s'],
      'millions': row['parameters'] / 1e6,
      'gflops': row['flops_per_clip'] / 1e9,
      'percent': 100 * row['share_of_matrix_rate'],
    }
    for row in rows
  ]
  return table(
    shown,
    [column for column in _COLUMNS if _PEER.value or column[0] not in ('peer clips/s', 'ratio')],
  )


if __name__ == '__main__':
  run_command(main, usage=__doc__)
