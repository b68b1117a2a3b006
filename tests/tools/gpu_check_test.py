"""The GPU script: all commands with a stand-in for Python, some on the CPU."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import tarfile

import pytest

from a3dcae_jax.data.ingest import prepare_cache
from a3dcae_jax.measuring.timed_batches import INPUT_PIPELINES
from tools import check_device, conv_rates, pack_cache, top_kernels, trace_step

ROOT = pathlib.Path(__file__).parents[2]
TOOLS = {
  'tools.check_device': check_device,
  'tools.conv_rates': conv_rates,
  'tools.pack_cache': pack_cache,
  'tools.top_kernels': top_kernels,
  'tools.trace_step': trace_step,
}
# Compile fast, since nearly all time is compilation.
FAST_COMPILATION = {
  'XLA_FLAGS': '--xla_backend_optimization_level=0',
  'JAX_NUM_CPU_DEVICES': '1',
  'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.2',
}

pytestmark = pytest.mark.skipif(shutil.which('bash') is None, reason='no bash')

# The stand-in logs each command line and writes the figures of a benchmark. It runs scripts from
# the standard input that have arguments.
STAND_IN = """#!{python}
import json, os, sys
if sys.argv[1] == '-':
  sys.argv = sys.argv[1:]
  exec(sys.stdin.read() if len(sys.argv) > 1 else '')
else:
  entry = dict(argv=sys.argv[1:], xla_flags=os.environ.get('XLA_FLAGS', ''))
  with open('{log}', 'a') as log:
    log.write(json.dumps(entry) + '\\n')
if 'a3dcae_jax.benchmark' in sys.argv:
  flags = dict(flag[2:].split('=', 1) for flag in sys.argv[3:] if '=' in flag)
  rows = []
  for batch, speed in zip(flags.get('batch', '1').split(','), (1.0, 3.0, 2.0)):
    rows.append(dict(batch=int(batch), frames_per_s=speed))
  with open(flags['json'], 'w') as file:
    json.dump(dict(rows=rows), file)
"""

PARSE_BENCHMARKS = """
import json, sys
from absl import flags
from a3dcae_jax import benchmark
settings = []
for argv in json.load(sys.stdin):
  flags.FLAGS.unparse_flags()
  assert flags.FLAGS(['benchmark', *argv]) == ['benchmark'], argv
  pipelines = flags.FLAGS.input_pipeline
  benchmark._check_modes()
  if flags.FLAGS.modes == ['objects']:
    assert benchmark._has_source('objects') and flags.FLAGS.detector == 'yolox.onnx'
    continue
  settings.append([{**setting._asdict(), 'pipelines': pipelines} for setting in
                   benchmark._settings()])
print(json.dumps(settings))
"""

PARSE_MAIN = """
import json, sys
from absl import flags
from a3dcae_jax import main
from a3dcae_jax.cli.command import read_settings
sys.argv = ['main', *json.load(sys.stdin)]  # where the flags of the config are looked for
flags.FLAGS(sys.argv)
settings = read_settings(flags.FLAGS['config'])
print(json.dumps([flags.FLAGS.workdir, flags.FLAGS.profile, settings.seed, settings.data.cache,
                  settings.train.time_limit_s]))
"""


def run_script(timeout=60, **environment):
  """Run the GPU script with the given settings."""
  return subprocess.run(
    ['bash', 'tools/gpu_check.sh'],
    cwd=ROOT,
    env=os.environ | environment,
    capture_output=True,
    text=True,
    timeout=timeout,
    check=False,
  )


def run_python(code, value):
  """Run code with a JSON value on its standard input, and return its JSON output."""
  done = subprocess.run(
    [sys.executable, '-c', code],
    cwd=ROOT,
    input=json.dumps(value),
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-2000:]
  return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope='module')
def recorded(tmp_path_factory):
  """Folder of results, and (module, flags, XLA flags) of all recorded commands."""
  folder = tmp_path_factory.mktemp('recorded')
  stand_in = folder / 'python'
  stand_in.write_text(STAND_IN.format(python=sys.executable, log=folder / 'log'))
  stand_in.chmod(0o755)
  done = run_script(
    OUT=str(folder / 'out'),
    PYTHON=str(stand_in),
    PEER='peer.py',
    PEER_PYTHON='other',
    CACHE='packed.npz',
    OBJECT_CACHE='objects.npz',
    DETECTOR='yolox.onnx',
    TRAIN_FLAGS='--config.seed=1',
    LIMIT_S='600',
    FLAG_SETS='none latency_hiding',
  )
  assert done.returncode == 0, done.stdout + done.stderr
  assert 'LEFT OUT' not in done.stdout
  commands = []
  for line in (folder / 'log').read_text().splitlines():
    entry = json.loads(line)
    assert entry['argv'][0] == '-m'
    commands.append((entry['argv'][1], entry['argv'][2:], entry['xla_flags']))
  return folder / 'out', commands


def benchmarks_of(recorded):
  """Name of its JSON file -> flags of a benchmark."""
  _, commands = recorded
  found = {}
  for module, argv, _ in commands:
    if module == 'a3dcae_jax.benchmark' and '--modes=stream' not in argv:
      flags = dict(flag[2:].split('=', 1) for flag in argv if '=' in flag)
      found[pathlib.Path(flags['json']).stem] = flags
  return found


def test_benchmark_accepts_the_flags_of_the_script(recorded):
  _, commands = recorded
  argvs = [argv for module, argv, _ in commands if module == 'a3dcae_jax.benchmark']
  (stream,) = [argv for argv in argvs if '--modes=stream' in argv]
  argvs.remove(stream)
  assert '--preset=paper' in stream
  settings = run_python(PARSE_BENCHMARKS, argvs)
  algorithms = set()
  modes = set()
  for entry in (setting for group in settings for setting in group):
    modes.add(entry['mode'])
    assert set(entry['pipelines']) <= set(INPUT_PIPELINES)
    algorithms.add((entry['conv_algorithm'], entry['polyphase'], entry['remat']))
  assert algorithms == {
    ('auto', True, 'none'),
    ('folded', True, 'none'),
    ('auto', False, 'none'),
    ('auto', True, 'blocks'),
  }
  assert modes == {'infer', 'train', 'object_infer', 'object_train'}


def test_the_tools_accept_the_flags_of_the_script(recorded):
  _, commands = recorded
  called = set()
  for module, argv, _ in commands:
    if module in TOOLS:
      TOOLS[module].parse_flags(argv)
      called.add(module)
  assert called == set(TOOLS)


def test_main_accepts_the_flags_of_the_script(recorded):
  out, commands = recorded
  runs = [argv for module, argv, _ in commands if module == 'a3dcae_jax.main']
  caches = {'paper': 'cache', 'tuned': 'cache', 'objects': 'object_cache'}
  assert len(runs) == len(caches)
  for argv, (name, folder) in zip(runs, caches.items(), strict=True):
    assert f'--config=configs/ucsd_ped2.py:{name}' in argv
    workdir, profile, seed, cache, time_limit_s = run_python(PARSE_MAIN, argv)
    assert workdir == f'{out}/run_{name}'
    assert profile == '20:25'
    assert seed == 1
    assert cache == f'{out}/{folder}'
    assert 0 < time_limit_s <= 195  # 45 s of TRAIN_S are reserved for scoring


def test_the_most_important_parts_come_first(recorded):
  _, commands = recorded
  order = []
  for module, argv, _ in commands:
    files = [flag for flag in argv if flag.startswith('--json=')]
    order.append(pathlib.Path(files[0]).stem if files else module.rpartition('.')[2])
  expected = ['train_peer_ndhwc_compiled', 'infer_peer_ndhwc_compiled', 'check', 'objects']
  expected += ['pack_cache', 'detection']
  assert order[: len(expected)] == expected
  assert order.index('detection') < order.index('main') < order.index('infer')


@pytest.mark.parametrize(
  'part, steps',
  [
    (
      'peer_compiled',
      ['benchmark_train_peer_ndhwc_compiled', 'benchmark_infer_peer_ndhwc_compiled'],
    ),
    ('check', ['check']),
    ('train_tuned', ['unpack_cache', 'train_tuned']),
    ('polyphase', ['benchmark_infer_no_polyphase', 'benchmark_train_no_polyphase']),
  ],
)
def test_a_part_can_be_given_alone(tmp_path, part, steps):
  done = run_script(
    OUT=str(tmp_path / 'out'),
    PYTHON='true',
    PEER='peer.py',
    CACHE='packed.npz',
    PARTS=part,
  )
  assert done.returncode == 0, done.stdout
  ran = [line.split()[1] for line in done.stdout.splitlines() if line.startswith('== ')]
  assert ran == ['environment', *steps, 'done']


def test_all_other_parts_use_the_fastest_batch(recorded):
  benchmarks = {
    name: flags
    for name, flags in benchmarks_of(recorded).items()
    if not name.startswith(('objects', 'detection')) and name[6:] != 'peer_ndhwc_compiled'
  }
  assert benchmarks.pop('infer')['batch'] == '32,16,64'
  assert benchmarks.pop('train')['batch'] == benchmarks.pop('remat')['batch'] == '16,32'
  for name, flags in benchmarks.items():  # the stand-in's second batch is the fastest
    assert flags['batch'] == ('16' if name.startswith('infer') else '32'), name


def test_the_reference_implementation_runs_in_each_layout_as_it_is_and_compiled(recorded):
  benchmarks = benchmarks_of(recorded)
  options = {}
  for name, flags in benchmarks.items():
    if 'peer' in flags and not name.startswith('objects'):
      options[name] = flags['peer_options']
      assert flags['peer_python'] == 'other'
  compiled = '--compile max-autotune --layout'
  expected = {}
  for layout in ('ndhwc', 'ncdhw'):
    for mode in ('train', 'infer'):
      expected[f'{mode}_peer_{layout}'] = f'--layout {layout}'
      expected[f'{mode}_peer_{layout}_compiled'] = f'{compiled} {layout}'
  assert options == expected


def test_chosen_sets_of_xla_flags_are_tried(recorded):
  _, commands = recorded
  flags = {}
  for _, argv, xla_flags in commands:
    for flag in argv:
      if flag.startswith('--json=') and 'flags_' in flag:
        flags[pathlib.Path(flag).stem] = xla_flags.split()[-1:]
  assert flags['flags_latency_hiding'] == ['--xla_gpu_enable_latency_hiding_scheduler=true']
  assert set(flags) == {'flags_none', 'flags_latency_hiding'}


def test_all_results_are_packed_into_one_file(recorded):
  out, _ = recorded
  with tarfile.open(out / 'results.tgz') as results:
    names = set(results.getnames())
  assert {f'./{path.name}' for path in out.glob('*.json')} <= names
  assert './benchmark_train.log' in names


def test_parts_without_time_are_skipped_and_named(tmp_path):
  done = run_script(OUT=str(tmp_path / 'out'), LIMIT_S='1', PYTHON='true')
  assert done.returncode == 0
  (last,) = [line for line in done.stdout.splitlines() if line.startswith('== done')]
  parts = last.partition('LEFT OUT:')[2].split()
  assert {'benchmark_infer', 'trace_train', 'check', 'rates', 'benchmark_remat'} <= set(parts)
  assert {'benchmark_objects', 'detection', 'train_paper', 'train_objects'} <= set(parts)
  assert 'benchmark_flags_latency_hiding' in parts
  assert not list((tmp_path / 'out').glob('*.json'))


@pytest.fixture
def packed(tmp_path):
  cache = prepare_cache(
    'synthetic',
    root='',
    cache_dir=str(tmp_path / 'caches'),
    height=32,
    width=32,
    options={'num_videos': 2, 'frames_per_video': 40},
  )
  pack_cache.pack(cache.folder, tmp_path / 'packed.npz', 95)
  return tmp_path / 'packed.npz'


@pytest.mark.slow  # compiles two programs and trains
def test_the_script_measures_beside_a_reference_and_trains(tmp_path, packed):
  (tmp_path / 'peer.py').write_text('print(\'{"clips_per_s": 2.0}\')')
  out = tmp_path / 'out'
  done = run_script(
    timeout=500,
    **FAST_COMPILATION,
    OUT=str(out),
    PYTHON=sys.executable,
    PEER=str(tmp_path / 'peer.py'),
    PEER_OPTIONS='',
    LAYOUTS='',
    PRESET='tiny',
    BATCHES='2',
    TRAIN_BATCHES='2',
    REPS='1',
    PAIRS='1',
    CACHE=str(packed),
    CONFIGS='configs/synthetic.py:tiny,without_gan',
    TRAIN_FLAGS='--config.model.widths=(4,4)',
    PROFILE='2:3',
    LIMIT_S='600',
    PARTS='peer train profile',
  )
  assert done.returncode == 0, done.stdout[-3000:]
  for mode in ('infer', 'train'):
    (row,) = json.loads((out / f'{mode}_peer_default.json').read_text())['rows']
    assert row['mode'] == mode
    assert row['batch'] == 2
    assert row['ratio'] == pytest.approx(row['clips_per_s'] / 2)
  kernels = json.loads((out / 'kernels_tiny_without_gan.json').read_text())
  assert [row['step'] for row in kernels['updates']] == [2, 3]
  assert kernels['kernels'][0]['ms'] > 0
  assert (
    json.loads((out / 'run_tiny_without_gan' / 'metrics.json').read_text())['checkpoint_step'] == 4
  )
  with tarfile.open(out / 'results.tgz') as results:
    names = set(results.getnames())
  assert {'./kernels_tiny_without_gan.json', './run_tiny_without_gan/metrics.json'} <= names


@pytest.mark.slow  # compiles a training step
def test_a_traced_step_names_its_kernels(tmp_path):
  flags = ['--mode=train', '--preset=tiny', '--batch=2', '--steps=2']
  files = [f'--json={tmp_path}/kernels.json', f'--hlo={tmp_path}/train.hlo']
  subprocess.run(
    [sys.executable, '-m', 'tools.trace_step', *flags, *files],
    cwd=ROOT,
    env=os.environ | FAST_COMPILATION,
    check=True,
    timeout=300,
  )
  rows = json.loads((tmp_path / 'kernels.json').read_text())['kernels']
  assert rows[0]['ms'] > 0
  assert 'ENTRY' in (tmp_path / 'train.hlo').read_text()


def flag_sets():
  """The lines of tools/xla_flags: (name, flags, purpose)."""
  sets = []
  for line in (ROOT / 'tools' / 'xla_flags').read_text().splitlines():
    if not line.startswith('#'):
      name, flags, purpose = (cell.strip() for cell in line.split('|'))
      sets.append((name, flags.split(), purpose))
  return sets


def test_sets_of_flags_have_different_names_and_a_purpose():
  names = [name for name, _, _ in flag_sets()]
  assert len(set(names)) == len(names)
  assert flag_sets()[0][:2] == ('none', [])
  for _, flags, purpose in flag_sets():
    assert purpose
    assert all(flag.startswith('--xla_') for flag in flags)


@pytest.mark.slow  # starts JAX
def test_xla_accepts_the_flags():
  flags = [flag for _, flags, _ in flag_sets() for flag in flags]
  done = subprocess.run(
    [sys.executable, '-c', 'import jax; jax.jit(lambda x: x + 1)(1)'],
    env=os.environ | {'XLA_FLAGS': ' '.join(flags)},
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )
  assert done.returncode == 0, done.stderr[-500:]
