"""Compile the real programs for TPUs and GPUs that are not there: FLOPs, bytes, memory against the chip's, roofline, collectives.

  python -m a3dcae_jax.aot --topology=v5e:1x1
  python -m a3dcae_jax.aot --topology=v5e:1x1,v5e:2x2,v5e:4x4,v5e:8x8,v5e:16x16 --modes=train --json=scale.json
  python -m a3dcae_jax.aot --preset=paper,paper6,small,small6 --table=presets
  python -m a3dcae_jax.aot --platform=cuda --topology=h200:1x1
  python -m a3dcae_jax.aot --topology=v5e:1x1 --modes=train --largest_batch --remat=blocks

Needs libtpu (pip install -e '.[tpu]') and no TPU, or CUDA's plug-in ('.[cuda12]') and no GPU. Inference is clips in, frame errors out; train
is the full adversarial step. Figures are per chip. The roofline is max(FLOPs / peak, bytes / bandwidth): no program runs faster, a real one
runs slower. For GPUs bytes are what every kernel reads and writes by the program's text, and nothing is tuned against the hardware. Several
reports end in a table, several topologies of one setting in a comparison.
"""

import os

from absl import flags

from a3dcae_jax.cli.command import run_command
from a3dcae_jax.common.frame_rms import TUNED_RMS

_PLATFORM = flags.DEFINE_enum(
  'platform', '', ['', 'tpu', 'cuda'], "Of the topologies; '' takes theirs."
)
_TOPOLOGY = flags.DEFINE_list(
  'topology',
  [],
  'KIND:GRID, or several: v5e, v5p, v6e and chips, as in v5e:4x4; a100, h100, h200 and hosts x GPUs, '
  'as in h200:1x8. One v5e chip or one H200 by default.',
)
_PRESET = flags.DEFINE_list(
  'preset', ['paper'], 'paper, paper6, small, small6, tiny; several are compiled one after another.'
)
_BATCH = flags.DEFINE_list('batch', ['8'], 'Clips a chip; several are compiled one after another.')
_MODES = flags.DEFINE_list('modes', ['infer', 'train'], 'infer, train.')
_DTYPE = flags.DEFINE_string(
  'dtype', 'bfloat16', 'Of the computation; parameters, statistics and losses are float32.'
)
_SPLIT = flags.DEFINE_bool('polyphase', True, 'Compute the outer layers by pool phase.')
_CONV_ALGORITHM = flags.DEFINE_string(
  'conv_algorithm', 'auto', 'Of 3D convolutions: auto, direct, folded, summed, winograd.'
)
_TARGET_RMS = flags.DEFINE_float(
  'target_rms',
  TUNED_RMS,
  'What frames are normalised to, as in :paper and :small; 0 leaves them as they are.',
)
_REMAT = flags.DEFINE_enum(
  'remat', 'none', ['none', 'blocks'], 'What is computed again for the gradient.'
)
_REDUCE = flags.DEFINE_enum(
  'reduce_dtype',
  'auto',
  ['auto', 'float32', 'bfloat16'],
  'In which gradients are sent between chips; auto: in --dtype.',
)
_LARGEST = flags.DEFINE_bool(
  'largest_batch',
  False,
  'Find the largest batch that the chip holds, starting from --batch; a handful of compilations.',
)
_JSON = flags.DEFINE_string('json', '', 'Write all figures to this file.')
_EARLIER = flags.DEFINE_list(
  'earlier',
  [],
  'Files that --json (or --table) wrote before: their rows join tables and searches and are not compiled again.',
)
_TABLE = flags.DEFINE_string(
  'table',
  '',
  'Write the table of all reports, those of --earlier among them, to this name with .md and .json.',
)
_COMPARISON = flags.DEFINE_string(
  'comparison', '', 'Write the comparison of topologies to this name with .md and .json.'
)


def main():
  os.environ['JAX_PLATFORMS'] = 'cpu'  # before JAX looks for devices
  os.environ.setdefault(
    'TPU_SKIP_MDS_QUERY', '1'
  )  # or libtpu asks a metadata server that is not there, for minutes
  os.environ.setdefault(
    'ALLOW_MULTIPLE_LIBTPU_LOAD', '1'
  )  # nothing runs on a TPU: several compilers may stand side by side
  from a3dcae_jax.common.files import write_json
  from a3dcae_jax.measuring.aot_compile import report
  from a3dcae_jax.measuring.largest import largest_batch
  from a3dcae_jax.measuring.overview import earlier_reports

  rows = earlier_reports(_EARLIER.value)
  for setting in _settings():
    for topology in _topologies():
      if _LARGEST.value:
        print(f'{setting.mode} {setting.preset} on {topology}, remat {setting.remat}:', flush=True)
        rows.append(largest_batch(setting, topology, earlier=rows))
        print(f'the largest batch is {rows[-1]["batch"]} clips a chip', flush=True)
      else:
        rows.append(report(setting, topology))
        print(_text(rows[-1]), flush=True)
      if _JSON.value:
        write_json(_JSON.value, {'rows': rows})
  if not _LARGEST.value:
    _overview(rows)
    _compare(rows)


def _topologies():
  from a3dcae_jax.common.errors import UserError
  from a3dcae_jax.measuring.chips import DEFAULTS, platform_of

  names = _TOPOLOGY.value or ([] if _EARLIER.value else [DEFAULTS[_PLATFORM.value or 'tpu']])
  for name in names:
    if _PLATFORM.value not in ('', platform_of(name)):
      raise UserError(f'--topology {name!r} is no topology of --platform={_PLATFORM.value}')
  return names


def _settings():
  from a3dcae_jax.measuring.programs import Setting, check_setting

  return [
    check_setting(
      Setting(
        mode,
        preset,
        batch,
        _DTYPE.value,
        conv_algorithm=_CONV_ALGORITHM.value,
        polyphase=_SPLIT.value,
        remat=_REMAT.value,
        target_rms=_TARGET_RMS.value,
        reduce_dtype=_REDUCE.value,
      )
    )
    for preset in _PRESET.value
    for mode in _MODES.value
    for batch in map(int, _BATCH.value)
  ]


def _overview(rows):
  from a3dcae_jax.common.files import atomic_write, write_json
  from a3dcae_jax.measuring.overview import brief, overview

  if len(rows) > 1:
    print('\n' + overview(rows))
  if _TABLE.value:
    write_json(_TABLE.value + '.json', {'rows': [brief(row) for row in rows]})
    with atomic_write(_TABLE.value + '.md') as file:
      file.write(
        '\n'.join(
          ['# Compiled for chips that are not there', '', overview(rows, markdown=True), '']
        )
      )


def _compare(rows):
  from a3dcae_jax.common.files import atomic_write, write_json
  from a3dcae_jax.measuring.scale import SAME, scale_groups, scale_table, verdict

  groups = scale_groups(rows)
  texts = []
  for group in groups:
    lines = verdict(group)
    title = (
      ', '.join(f'{name} {group[0][name]}' for name in SAME)
      + '; all figures a chip, "x" against the fewest chips'
    )
    print('\n'.join(['', title, scale_table(group), *lines]))
    texts.append('\n'.join([title, '', scale_table(group, markdown=True), '', *lines, '']))
  if _COMPARISON.value:
    write_json(_COMPARISON.value + '.json', {'rows': [row for group in groups for row in group]})
    with atomic_write(_COMPARISON.value + '.md') as file:
      file.write(
        '\n'.join(
          ['# What is the same a chip on more chips, and what they send each other', '', *texts]
        )
      )


def _text(row):
  moved = f' and {row["gb_per_clip"]:.2f} GB' if row['gb_per_clip'] else ''
  convolutions = (
    f'{100 * row["convolution_share"]:.0f} % of FLOPs in convolutions; '
    if row['convolution_share']
    else ''
  )
  lines = [
    f'{row["mode"]} {row["preset"]}, {row["chips"]} x {row["topology"]}, {row["batch"]} clips a chip, {row["dtype"]}: '
    f'{row["gflops_per_clip"]:,.0f} GFLOP{moved} a clip, {row["memory_gb"]:.1f} GB ({100 * row["memory_share"]:.0f} % of the chip), '
    f'at most {row["roofline_frames_per_s"]:,.0f} frames/s a chip, limited by {row["limited_by"]}; '
    f'{convolutions}compiled in {row["compile_s"]:.0f} s'
  ]
  lines += [
    f'  {move["mb"]:8.1f} MB {move["opcode"]:12s} {move["op_name"][-70:]}'
    for move in row['large_moves'][:10]
  ]
  if len(row['large_moves']) > 10:
    lines.append(f'  and {len(row["large_moves"]) - 10} more moves over 1 MB (all in --json)')
  lines += _kernel_lines(row['kernels'])
  if row['collectives']:
    lines.append(
      f'  gradients: {row["gradient_reductions"]} reductions and {row["gradient_exchanges"]} exchanges, {row["gradient_mb"]:,.1f} MB; '
      f'statistics: {row["statistics_reductions"]}, {row["statistics_mb"]:,.2f} MB; {1e3 * row["collective_s"]:.2f} ms at the link rate, '
      f'{100 * row["collective_share"]:.0f} % of the roofline time, {100 * row["waited_share"]:.0f} % with nothing computed beside'
    )
  return '\n'.join(lines)


def _kernel_lines(kernels):
  kinds = dict.fromkeys(kernel['kind'] for kernel in kernels)
  lines = [f'  {sum(k["kind"] == kind for k in kernels):4d} kernels {kind}' for kind in kinds]
  return lines + [
    f'  {kernel["mb"]:8.1f} MB {kernel["name"]:40s} {kernel["op_name"][-60:]}'
    for kernel in kernels[:10]
  ]


if __name__ == '__main__':
  run_command(main, usage=__doc__, compiles_ahead=True)
