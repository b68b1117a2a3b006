"""Traces the program that `benchmark` times, and names the kernels that take its time.

  python tools/trace_step.py --mode=train --json=FILE [--preset=paper] [--batch=32] [--steps=5] [--trace=FOLDER]

Rows are in milliseconds a step. `main --profile` traces a whole run, input_pipeline included; this needs no cache.
"""

import argparse
import json
import pathlib
import tempfile

from a3dcae_jax.common.tuning import tune_process
from a3dcae_jax.measuring.columns import table

_COLUMNS = (
  ('ms', '{ms:.3f}'),
  ('%', '{percent:.1f}'),
  ('calls', '{a_step}'),
  ('kernel', '{name:.60}'),
  ('from', '{source}'),
)


def main(argv=None):
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--mode', choices=('infer', 'train'), required=True)
  parser.add_argument('--json', type=pathlib.Path, required=True)
  parser.add_argument('--preset', default='paper')
  parser.add_argument('--batch', type=int, default=32)
  parser.add_argument('--steps', type=int, default=5)
  parser.add_argument('--count', type=int, default=40)
  parser.add_argument('--trace', type=pathlib.Path)
  parser.add_argument(
    '--hlo', type=pathlib.Path, help='where the compiled program is written as text'
  )
  arguments = parser.parse_args(argv)
  import jax

  from a3dcae_jax.measuring.programs import Setting, check_setting
  from a3dcae_jax.measuring.timing import make_program
  from a3dcae_jax.run.profiling import newest_trace, read_events, top_kernels

  program = make_program(check_setting(Setting(arguments.mode, arguments.preset, arguments.batch)))
  program.run(3)
  if arguments.hlo:
    arguments.hlo.write_text(program.text())
  with tempfile.TemporaryDirectory() as scratch:
    folder = arguments.trace or pathlib.Path(scratch)
    with jax.profiler.trace(str(folder)):
      program.run(arguments.steps)
    rows = top_kernels(read_events(newest_trace(folder)), count=arguments.count)
  for row in rows:
    row['ms'] /= arguments.steps
  print(
    table(
      [
        row
        | {
          'percent': 100 * row['share'],
          'a_step': row['calls'] // arguments.steps,
          'source': row['op_name'][-60:],
        }
        for row in rows
      ],
      _COLUMNS,
    )
  )
  print(f'{sum(row["ms"] for row in rows):.3f} ms a step in these')
  arguments.json.write_text(
    json.dumps({'mode': arguments.mode, 'batch': arguments.batch, 'kernels': rows}, indent=1) + '\n'
  )


if __name__ == '__main__':
  tune_process()
  main()
