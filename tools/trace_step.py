"""Trace the program that `benchmark` times, and print its longest kernels.

  python -m tools.trace_step --mode=train --json=FILE [--preset=paper] [--batch=32] [--steps=5]

Times are per step. `main --profile` traces a whole run, with its input pipeline; this script needs
no frame cache.
"""

import argparse
import json
import pathlib
import tempfile

from a3dcae_jax.common.tuning import tune_process


def parse_flags(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse the command line; None takes that of the process."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('--mode', choices=('infer', 'train'), required=True)
  parser.add_argument('--json', type=pathlib.Path, required=True, help='file for the kernels')
  parser.add_argument('--preset', default='paper', help='sizes of the networks')
  parser.add_argument('--batch', type=int, default=32, help='clips')
  parser.add_argument('--steps', type=int, default=5, help='traced steps')
  parser.add_argument('--count', type=int, default=40, help='number of kernels')
  parser.add_argument('--trace', type=pathlib.Path, help='folder in which the trace is kept')
  parser.add_argument('--hlo', type=pathlib.Path, help='file for the compiled program as text')
  return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
  """Trace the program and print its kernels."""
  arguments = parse_flags(argv)
  import jax

  from a3dcae_jax.measuring.programs import Setting, check_setting
  from a3dcae_jax.measuring.timing import make_program
  from a3dcae_jax.measuring.traces import kernel_table, newest_trace, read_events, top_kernels

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
    row['calls'] /= arguments.steps
  print(kernel_table(rows))
  print(f'{sum(row["ms"] for row in rows):.3f} ms per step in these')
  traced = {'mode': arguments.mode, 'batch': arguments.batch, 'kernels': rows}
  arguments.json.write_text(json.dumps(traced, indent=1) + '\n')


if __name__ == '__main__':
  tune_process()
  main()
