"""Compile the real programs for absent TPUs and GPUs, and report what limits them.

  python -m a3dcae_jax.aot --topology=v5e:1x1
  python -m a3dcae_jax.aot --topology=v5e:1x1,v5e:2x2,v5e:4x4 --modes=train --json=scale.json
  python -m a3dcae_jax.aot --preset=paper,paper6,small,small6 --table=presets
  python -m a3dcae_jax.aot --platform=cuda --topology=h200:1x1
  python -m a3dcae_jax.aot --modes=object_infer,object_train,object_detect --batch=48
  python -m a3dcae_jax.aot --topology=v5e:1x1 --modes=train --largest_batch --remat=blocks

It needs libtpu (pip install -e '.[tpu]') but no TPU, or CUDA's plug-in ('.[cuda12]') but no GPU.
`infer` scores clips, `train` is the full adversarial step. `object_infer` and `object_train` cut
objects out of resident frames, then measure them or train on them; they have the networks of the
variant `best` whatever --preset says, and a clip is an object. `object_detect` finds the objects of
frames by YOLOX nano at 416x416 and scores them; there a clip is a frame, and each batch of 8 frames
has at most 256 objects, since the bodies of loops count once. All figures are per chip: FLOPs,
bytes, the share of the chip's memory, collectives, and the roofline, max(FLOPs / peak rate, bytes /
bandwidth). No program is faster than its roofline; a real one is slower.

For GPUs, the bytes are counted from the program's text: what its kernels read and write. Nothing
is tuned on the hardware. Several reports are followed by a table, and several topologies of the
same setting by a comparison.
"""

import os

from absl import flags

from a3dcae_jax.cli.command import define_program_flags, output_path, run_command
from a3dcae_jax.common.jax_environment import check_settings

_PLATFORM = flags.DEFINE_enum(
  'platform', '', ['', 'tpu', 'cuda'], "Platform of the topologies; '': found from their names."
)
_TOPOLOGY = flags.DEFINE_list(
  'topology',
  [],
  'KIND:GRID, or several: v5e, v5p, v6e and a grid of chips, as in v5e:4x4; a100, h100, h200 and '
  'hosts x GPUs, as in h200:1x8. The default is one v5e chip, or one H200 with --platform=cuda.',
)
_PRESET = flags.DEFINE_list(
  'preset', ['paper'], 'Sizes of the networks: paper, paper6, small, small6, tiny; or several.'
)
_BATCH = flags.DEFINE_list('batch', ['8'], 'Clips per chip; or several.')
_MODES = flags.DEFINE_list(
  'modes', ['infer', 'train'], 'infer, train; object_infer, object_train, object_detect.'
)
_DTYPE = flags.DEFINE_string(
  'dtype',
  'bfloat16',
  'Data type of the computation and of gradients between chips: float32 or bfloat16. Parameters, '
  'statistics and losses are float32.',
)
_PROGRAM = define_program_flags()
_LARGEST = flags.DEFINE_bool(
  'largest_batch',
  False,
  'Find the largest batch that the chip holds, starting at --batch; takes a few compilations.',
)
_JSON = flags.DEFINE_string('json', '', 'Write all figures to this file.')
_EARLIER = flags.DEFINE_list(
  'earlier',
  [],
  'Files that --json or --table wrote. Their rows are not compiled again; they join tables, '
  'comparisons and the search for the largest batch.',
)
_TABLE = flags.DEFINE_string(
  'table', '', 'Write the table of all reports, with those of --earlier, to NAME.md and NAME.json.'
)
_COMPARISON = flags.DEFINE_string(
  'comparison', '', 'Write the comparison of topologies to NAME.md and NAME.json.'
)


def main() -> None:
  """Compile the programs that the flags ask for and show their figures."""
  _set_environment()
  check_settings()
  from a3dcae_jax.common.files import write_json
  from a3dcae_jax.measuring.overview import earlier_reports

  settings = _settings()
  topologies = _topologies()
  json_file, table, comparison = (output_path(flag) for flag in (_JSON, _TABLE, _COMPARISON))
  rows = earlier_reports(_EARLIER.value)
  for setting in settings:
    for topology in topologies:
      if _LARGEST.value:
        rows.append(_largest_batch(setting, topology, rows))
      else:
        rows.append(_report(setting, topology))
      if json_file:  # after each program, to keep what was compiled if a later one fails
        write_json(json_file, {'rows': rows})
  if not _LARGEST.value:
    _show_table(rows, table)
    _show_comparison(rows, comparison)


def _set_environment() -> None:
  """Tell JAX and libtpu that there is no accelerator, before they look for it."""
  os.environ['JAX_PLATFORMS'] = 'cpu'
  # Otherwise libtpu waits minutes for a metadata server.
  os.environ.setdefault('TPU_SKIP_MDS_QUERY', '1')
  # Nothing runs on a TPU, so several compilers may run side by side.
  os.environ.setdefault('ALLOW_MULTIPLE_LIBTPU_LOAD', '1')


def _topologies() -> list[str]:
  """Return the topologies that the flags ask for."""
  from a3dcae_jax.common.errors import UserError
  from a3dcae_jax.measuring.chips import DEFAULTS, platform_of

  names = _TOPOLOGY.value
  if not names and not _EARLIER.value:
    names = [DEFAULTS[_PLATFORM.value or 'tpu']]
  for name in names:
    if _PLATFORM.value not in ('', platform_of(name)):
      raise UserError(f'--topology {name!r} does not belong to --platform={_PLATFORM.value}')
  return names


def _settings():
  """Return the settings that the flags ask for."""
  from a3dcae_jax.measuring.programs import settings_of

  return settings_of(
    _PRESET.value, _MODES.value, _BATCH.value, dtype=_DTYPE.value, **_PROGRAM.values()
  )


def _report(setting, topology):
  from a3dcae_jax.measuring.aot_compile import report
  from a3dcae_jax.measuring.overview import describe

  row = report(setting, topology)
  print(describe(row), flush=True)
  return row


def _largest_batch(setting, topology, earlier):
  from a3dcae_jax.measuring.largest import largest_batch

  print(f'{setting.mode} {setting.preset} on {topology}, remat {setting.remat}:', flush=True)
  row = largest_batch(setting, topology, earlier=earlier)
  print(f'the largest batch is {row["batch"]} clips per chip', flush=True)
  return row


def _show_table(rows, table):
  from a3dcae_jax.measuring.overview import overview, write_overview

  if len(rows) > 1:
    print('\n' + overview(rows))
  if table:
    write_overview(table, rows)


def _show_comparison(rows, comparison):
  from a3dcae_jax.measuring import scale

  groups = scale.scale_groups(rows)
  for group in groups:
    print('\n'.join(['', scale.scale_title(group), scale.scale_table(group)]))
    print('\n'.join(scale.verdict(group)))
  if comparison:
    scale.write_comparison(comparison, groups)


if __name__ == '__main__':
  run_command(main, usage=__doc__, compiles_ahead=True)
