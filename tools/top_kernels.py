"""Print the updates of a traced run, and the kernels that took longest.

python -m a3dcae_jax.main ... --workdir=RUN --profile=20:25
python -m tools.top_kernels RUN/profile [--count=20] [--json=FILE]
"""

import argparse
import json
import pathlib

from a3dcae_jax.measuring.traces import (
  kernel_table,
  newest_trace,
  read_events,
  top_kernels,
  updates,
)


def parse_flags(argv: list[str] | None = None) -> argparse.Namespace:
  """Parse the command line; None takes that of the process."""
  parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  parser.add_argument('folder', type=pathlib.Path, help='folder of the trace')
  parser.add_argument('--count', type=int, default=20, help='number of kernels')
  parser.add_argument('--json', type=pathlib.Path, help='file for the updates and kernels')
  return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
  """Print the newest trace of a folder."""
  arguments = parse_flags(argv)
  path = newest_trace(arguments.folder)
  events = read_events(path)
  traced = updates(events)
  kernels = top_kernels(events, count=arguments.count)
  for row in traced:
    print(
      f'update {row["step"]}: {row["ms"]:.2f} ms on the host, '
      f'{row["next_batch_ms"]:.2f} ms of them for its batch'
    )
  print(kernel_table(kernels))
  if arguments.json:
    found = {'trace': path.name, 'updates': traced, 'kernels': kernels}
    arguments.json.write_text(json.dumps(found, indent=1) + '\n')


if __name__ == '__main__':
  main()
