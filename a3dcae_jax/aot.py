"""Compile the real programs for TPUs that are not there: FLOPs, bytes, memory against the chip's, roofline, collectives.

  python -m a3dcae_jax.aot --topology=v5e:1x1
  python -m a3dcae_jax.aot --topology=v5e:4x4 --modes=train --batch=8 --json=aot.json

Needs libtpu (pip install -e '.[tpu]') and no TPU. Inference is clips in, frame errors out; train is the full adversarial step. Figures are
per chip. The roofline is max(FLOPs / peak, bytes / bandwidth): no program runs faster, a real one runs slower.
"""

import os

from absl import flags

from a3dcae_jax.runs.command import run_command

_TOPOLOGY = flags.DEFINE_list('topology', ['v5e:1x1'], 'KIND:GRID, or several: v5e, v5p, v6e; 1x1 to 16x16.')
_PRESET = flags.DEFINE_string('preset', 'paper', 'paper, paper6, small, small6 or tiny.')
_BATCH = flags.DEFINE_list('batch', ['8'], 'Clips a chip; several are compiled one after another.')
_MODES = flags.DEFINE_list('modes', ['infer', 'train'], 'infer, train.')
_DTYPE = flags.DEFINE_string('dtype', 'bfloat16', 'Of the computation; parameters, statistics and losses are float32.')
_SPLIT = flags.DEFINE_bool('split_phases', True, 'Compute the outer layers by pool phase.')
_LOWERING = flags.DEFINE_string('lowering', 'auto', 'Of 3D convolutions: auto, direct, folded, summed, winograd.')
_JSON = flags.DEFINE_string('json', '', 'Write all figures to this file.')


def main():
  os.environ['JAX_PLATFORMS'] = 'cpu'  # before JAX looks for devices
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')  # or libtpu asks a metadata server that is not there, for minutes
  from a3dcae_jax.common.files import write_json
  from a3dcae_jax.runs.ahead import report
  from a3dcae_jax.runs.programs import Setting
  rows = []
  for topology in _TOPOLOGY.value:
    for mode in _MODES.value:
      for batch in map(int, _BATCH.value):
        setting = Setting(mode, _PRESET.value, batch, _DTYPE.value, lowering=_LOWERING.value, split_phases=_SPLIT.value)
        rows.append(report(setting, topology))
        print(_text(rows[-1]), flush=True)
        if _JSON.value:
          write_json(_JSON.value, {'rows': rows})


def _text(row):
  lines = [f'{row["mode"]} {row["preset"]}, {row["chips"]} x {row["topology"]}, {row["batch"]} clips a chip, {row["dtype"]}: '
           f'{row["gflops_per_clip"]:,.0f} GFLOP and {row["gb_per_clip"]:.2f} GB a clip, '
           f'{row["memory_gb"]:.1f} GB ({100 * row["memory_share"]:.0f} % of the chip), '
           f'at most {row["roofline_frames_per_s"]:,.0f} frames/s a chip, limited by {row["limited_by"]}; '
           f'{100 * row["convolution_share"]:.0f} % of FLOPs in convolutions; compiled in {row["compile_s"]:.0f} s']
  lines += [f'  {move["mb"]:8.1f} MB {move["opcode"]:12s} {move["op_name"][-70:]}' for move in row['large_moves'][:10]]
  if len(row['large_moves']) > 10:
    lines.append(f'  and {len(row["large_moves"]) - 10} more moves over 1 MB (all in --json)')
  if row['collectives']:
    lines.append(f'  {len(row["collectives"])} collectives, {sum(c["bytes"] for c in row["collectives"]) / 1e6:,.1f} MB, '
                 f'{1e3 * row["collective_s"]:.2f} ms at the link rate, {100 * row["collective_share"]:.0f} % of the roofline time')
  return '\n'.join(lines)


if __name__ == '__main__':
  run_command(main, usage=__doc__)
