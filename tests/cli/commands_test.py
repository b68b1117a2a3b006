"""Commands as processes: their list, their help, one-line errors."""

import os
import pathlib
import signal
import subprocess
import sys

import jax
import pytest
from absl import flags

import a3dcae_jax
from a3dcae_jax.cli import command
from a3dcae_jax.cli.command import default_workdir, parse_overrides
from a3dcae_jax.cli.pod import run_in_pod
from a3dcae_jax.common.compilation_cache import FIRST_JAX
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import VARIANTS
from a3dcae_jax.data.builders import MissingVideos
from a3dcae_jax.training.preemption import Preempted

CONFIG = '--config=configs/synthetic.py'
COMMANDS = (
  'main',
  'prepare',
  'evaluate',
  'experiments',
  'export',
  'detect',
  'benchmark',
  'aot',
)

# Runs a module as a command in a process where importing TensorFlow fails.
WITHOUT_TENSORFLOW = """
import runpy, sys

class Blocker:
  def find_spec(self, name, path=None, target=None):
    if name.partition('.')[0] in ('tensorflow', 'tensorflow_datasets'):
      raise ImportError(f'{name} is blocked')

sys.meta_path.insert(0, Blocker())
module = sys.argv[1]
sys.argv = sys.argv[1:]
runpy.run_module(module, run_name='__main__', alter_sys=True)
"""


def run(module, *arguments):
  """Run a module without TensorFlow."""
  return subprocess.run(
    [sys.executable, '-c', WITHOUT_TENSORFLOW, module, *arguments],
    capture_output=True,
    text=True,
    timeout=120,
    check=False,
  )


def one_error(result):
  """Check that a command has ended with one line of error, and return it."""
  assert result.returncode == 2
  lines = result.stderr.strip().splitlines()
  assert len(lines) == 1 and lines[0].startswith('error: ')
  return lines[0]


def test_the_package_lists_all_commands():
  result = run('a3dcae_jax')
  assert result.returncode == 0
  listed = [line.split()[0] for line in result.stdout.splitlines() if line.startswith('  ')]
  assert listed == list(COMMANDS)
  folder = pathlib.Path(a3dcae_jax.__file__).parent
  modules = {path.stem for path in folder.glob('[!_]*.py')}
  assert modules == set(COMMANDS)


def test_the_list_runs_a_command():
  result = run('a3dcae_jax', 'export', '--workdir=x')
  assert '--bundle' in one_error(result)


def test_the_version_is_printed():
  assert run('a3dcae_jax', '--version').stdout == f'a3dcae_jax {a3dcae_jax.__version__}\n'


def test_a_reader_of_the_help_may_end_early():
  reading, writing = os.pipe()
  os.close(reading)
  result = subprocess.run(
    [sys.executable, '-m', 'a3dcae_jax', 'evaluate', '--help'],
    stdout=writing,
    stderr=subprocess.PIPE,
    text=True,
    timeout=120,
    check=False,
  )
  os.close(writing)
  assert (result.stderr, result.returncode) == ('', 141)


@pytest.mark.parametrize(
  'field, near',
  [
    ('train.stepz', 'train.steps'),
    ('trains.steps', 'train.steps'),
    ('steps', 'train.steps'),
    ('evals.stride', 'eval.stride'),
    ('eval.smoothing', 'eval.smoothing_mode'),
    ('train.unpooling', ''),
    ('eval.foo', ''),
    ('foo.bar', ''),
    ('foo', ''),
  ],
)
def test_only_a_near_field_is_suggested(field, near):
  assert command._near_field(field, command._field_names()) == near


def test_an_unknown_command_is_named():
  assert "did you mean 'evaluate'?" in one_error(run('a3dcae_jax', 'evalute'))


@pytest.mark.parametrize('command', COMMANDS)
def test_help_needs_no_tensorflow_and_shows_the_command(command):
  result = run(f'a3dcae_jax.{command}', '--help')
  assert result.returncode == 0, result.stderr
  assert f'python -m a3dcae_jax.{command}' in result.stdout
  assert 'Flags:' in result.stdout


def test_help_of_main_ends_with_the_variants():
  lines = run('a3dcae_jax.main', '--help').stdout.splitlines()
  named = [line.split()[0] for line in lines[-len(VARIANTS) :]]
  assert named == list(VARIANTS)


@pytest.mark.parametrize('command', ['main', 'evaluate', 'export', 'benchmark'])
def test_commands_that_compile_have_the_flag_of_the_compilation_cache(command):
  assert '--[no]compilation_cache' in run(f'a3dcae_jax.{command}', '--help').stdout


@pytest.mark.parametrize(
  'arguments, words',
  [
    ([], ['--config is missing']),
    ([CONFIG, '--config.train.stepz=3'], ['--config.train.stepz', "did you mean 'train.steps'?"]),
    ([CONFIG, '--config.trains.steps=3'], ['trains.steps', 'docs/reference/config.md']),
    ([CONFIG, '--config.data.options.speed=3'], ['speed', 'data.options']),
    ([f'{CONFIG}:huge'], ["error: unknown variant 'huge'", 'small']),
    ([f'{CONFIG}:tiny,hug'], ["unknown variant 'hug'"]),
    (['--config=configs/none.py'], ['there is no file configs/none.py', '--config=avenue:small']),
    (['--config=tests'], ['tests is a folder', '--config=avenue:small']),
    (['--config=avenu:small'], ['there is no file avenu', 'avenue']),
    (['--config=avenue:huge'], ["unknown variant 'huge'"]),
    (['--config', 'gs://b/c.py'], ['--config (=gs://b/c.py) is an address']),
    (['--config=README.md'], ['is not a config']),
    (['--config='], ['--config is empty']),
    ([CONFIG, '--config.train.steps=4.5'], ['--config.train.steps (=4.5) must be an integer']),
    ([CONFIG, '--config.eval.per_position=no: x'], ['per_position (=no: x) must be true or false']),
    ([CONFIG, '--heartbeat_s=x'], ['--heartbeat_s (=x) must be']),
    ([CONFIG, '--config.data.name=synthetik'], ['data.name', "did you mean 'synthetic'?"]),
    ([CONFIG, '--config.data.label_set=foo'], ["data.label_set 'foo'", 'official']),
    ([CONFIG, '--profile=5'], ["--profile '5'", 'START:STOP']),
    ([CONFIG, '--config.eval.error=foo'], ['eval.error', "'foo'", 'eq13']),
    ([CONFIG, '--config.train.steps=0'], ['train.steps', '0', 'at least 1']),
    ([CONFIG, 'x'], ["'x' is not a flag"]),
    ([CONFIG, '--config.data.root=gs://b/x'], ['data.root (=gs://b/x) is an address', 'mount']),
    ([CONFIG, '--config.data.cache_dir=s3://b'], ['data.cache_dir (=s3://b) is an address']),
    ([CONFIG, '--config.data.cache_dir='], ['data.cache_dir is empty']),
    ([CONFIG, f'--config.seed={2**32}'], ['seed', 'at most']),
    ([CONFIG, '--config.objects.classes=(-1,)'], ['objects.classes', 'whole numbers']),
  ],
)
def test_mistakes_in_a_config_are_reported_in_one_line(arguments, words, tmp_path):
  result = run('a3dcae_jax.main', *arguments, f'--workdir={tmp_path / "run"}')
  line = one_error(result)
  for word in words:
    assert word in line
  assert not result.stdout
  assert not (tmp_path / 'run').exists()


MADE = 'from a3dcae_jax.config import make_config\ndef get_config(variants):\n'


@pytest.mark.parametrize(
  'content, variants, words',
  [
    ('x = 1\n', '', ['has no get_config(variants)', 'get_config']),
    ('def get_config():\n  return {}\n', '', ['has no get_config(variants)', "'data'"]),
    ('def get_config():\n  raise ValueError(1 / 3)\n', '', ['c.py, line 2: ValueError: 0.333']),
    ('def get_config():\n  return 5\n', ':tiny', ['c.py: TypeError: get_config() takes 0']),
    (f'{MADE}  c = make_config("synthetic")\n  c.seed = ""\n', ':tiny', ['c.py, line 4: TypeE']),
    ('def get_config(:\n', '', ['c.py, line 1', 'SyntaxError']),
  ],
)
def test_faults_of_a_config_file_are_reported_in_one_line(tmp_path, content, variants, words):
  path = tmp_path / 'c.py'
  path.write_text(content)
  line = one_error(run('a3dcae_jax.prepare', f'--config={path}{variants}', '--config.data.root=x'))
  for word in ('--config', *words):
    assert word in line


def test_a_config_that_is_none_is_refused(tmp_path):
  (tmp_path / 'c.py').write_text('def get_config():\n  return 5\n')
  line = one_error(run('a3dcae_jax.prepare', f'--config={tmp_path}/c.py'))
  assert 'get_config returns 5, not a config' in line


@pytest.mark.slow
def test_a_folder_that_cannot_be_made_is_reported_in_one_line(tmp_path):
  path = tmp_path / 'file'
  path.touch()
  result = run('a3dcae_jax.prepare', f'{CONFIG}:tiny', f'--config.data.cache_dir={path}')
  assert f'data.cache_dir (={path}) cannot be written' in one_error(result)


@pytest.mark.slow
def test_missing_videos_are_reported_in_one_line(tmp_path):
  config = tmp_path / 'mine.py'
  config.write_text(pathlib.Path('configs/ucsd_ped2.py').read_text())
  result = run(
    'a3dcae_jax.prepare',
    f'--config={config}:small',
    '--config.data.root=/none',
    f'--config.data.cache_dir={tmp_path}',
  )
  line = one_error(result)
  assert f'`python -m a3dcae_jax.prepare --config={config}:small --config.data.root=/none' in line
  assert '--data_root' not in line


@pytest.mark.parametrize(
  'arguments, words',
  [
    (['main', CONFIG, '--workdir='], '--workdir is missing'),
    (['main', CONFIG, '--workdir=gs://b/x'], '--workdir (=gs://b/x) is an address'),
    (['evaluate', '--workdir=s3://b/x'], '--workdir (=s3://b/x) is an address'),
    (['export', '--workdir=x', '--bundle=gs://b'], '--bundle (=gs://b) is an address'),
    (
      ['export', '--workdir=x', '--bundle=README.md/b'],
      'its folder (=README.md) cannot be written',
    ),
    (['export', '--workdir=x', '--bundle=b', '--cache=s3://c'], '--cache (=s3://c) is an address'),
  ],
)
def test_a_place_that_cannot_be_used_is_named_at_once(arguments, words):
  command, *flags = arguments
  result = run(f'a3dcae_jax.{command}', *flags)
  assert words in one_error(result)
  assert not result.stdout


def test_missing_videos_are_explained_by_the_flags_of_evaluate(monkeypatch):
  holder = flags.FlagValues()
  flags.DEFINE_string('data_root', '', '', flag_values=holder)
  monkeypatch.setattr(command.flags, 'FLAGS', holder)
  message = str(command.user_error(MissingVideos('avenue', 'data/avenue')))
  assert 'another folder is named by --data_root=FOLDER' in message
  assert '--config.data.root' not in message


@pytest.mark.parametrize(
  'arguments, word',
  [
    ([], '--workdir is missing'),
    (['--sum', 'a', 'b'], '--workdir is missing'),
    (['--workdir=x', '--cache=y'], '--cache goes with --bundle'),
    (['--workdir=x', '--page=y.html'], '--page goes with --compare'),
    (['--compare', 'a', 'b', '--workdir=x'], '--workdir does not go with --compare'),
    (['--workdir=x', '--override=eval.stride'], 'is not FIELD=VALUE'),
    (['--compare', '--sum', 'a', 'b'], 'do not go together'),
    (['--workdir=x', 'y'], "'y' is not a flag"),
    (['--bundle=b', '--workdir=x', '--override=eval.stride=1'], '--override does not go'),
  ],
)
def test_conflicting_flags_of_evaluate_are_reported_in_one_line(arguments, word):
  assert word in one_error(run('a3dcae_jax.evaluate', *arguments))


@pytest.mark.parametrize(
  'arguments, word',
  [
    (['benchmark', '--preset=tiny,huge'], "--preset 'huge'"),
    (['benchmark', '--preset=tiny', '--input_pipeline=none,disk'], "--input_pipeline 'disk'"),
    (['benchmark', '--modes=pipeline,infer', '--cache=x'], '--modes=pipeline,infer'),
    (['detect', '--bundle=b', '--threshold=nan', '-'], '--threshold (=nan) must be a finite'),
    (['detect', '--bundle=b', '--until=inf', '-'], '--until (=inf) must be a finite'),
    (['detect', '--bundle=b', '--raw=99999x99999', '-'], '--raw has 99999x99999 pixels, more than'),
    (['detect', '--bundle=b', '--learn_hours=.', 'x'], '--learn_hours=. is a folder'),
    (['detect', '--bundle=b', '--learn_hours=x.json'], '--learn_hours: name the scores.csv'),
    (
      ['detect', '--bundle=b', '--threshold=1', '--thresholds_by_hour=x', '-'],
      '--threshold and --thresholds_by_hour exclude',
    ),
    (
      ['benchmark', '--modes=infer,nope'],
      "--modes 'nope': known are infer, train, object_infer, object_train, pipeline, ingest, "
      'decode, start, objects, stream',
    ),
    (['benchmark', '--modes=stream,infer'], '--modes=stream,infer: stream goes with no other'),
    (['benchmark', '--reps=0'], '--reps (=0) must be a positive'),
    (['aot', '--batch=8,x'], '--batch (=x)'),
    (
      ['benchmark', '--preset=tiny', '--json=/proc/none/x.json'],
      '--json=/proc/none/x.json: its folder (=/proc/none) cannot be',
    ),
    (['aot', '--json=gs://b/x.json'], '--json (=gs://b/x.json) is an address'),
  ],
)
def test_nothing_is_measured_after_a_mistake(arguments, word):
  command, *flags = arguments
  result = run(f'a3dcae_jax.{command}', *flags)
  assert word in one_error(result)
  assert not result.stdout


@pytest.mark.parametrize('asked_by, status', [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_a_run_that_was_asked_to_end_says_how_to_go_on(asked_by, status, capsys):
  def body():
    raise Preempted(7, asked_by)

  assert run_in_pod(body) == status
  assert 'saved at step 7. The same command' in capsys.readouterr().err


@pytest.mark.parametrize(
  'config, expected',
  [
    ('configs/avenue.py', 'runs/avenue'),
    ('configs/avenue.py:small', 'runs/avenue_small'),
    ('/elsewhere/mine.py:small, without_gan', 'runs/mine_small-without_gan'),
  ],
)
def test_the_default_workdir_names_config_and_variants(config, expected):
  assert default_workdir(config) == pathlib.Path(expected)


@pytest.mark.parametrize(
  'texts, expected',
  [
    ([], {}),
    (
      ['eval.stride=1,events.threshold_value=0.99'],
      {'eval.stride': '1', 'events.threshold_value': '0.99'},
    ),
    (
      ['data.options.labels=a,b.csv', 'data.label_set='],
      {'data.options.labels': 'a,b.csv', 'data.label_set': ''},
    ),
  ],
)
def test_overrides_are_fields_with_their_values(texts, expected):
  assert parse_overrides(texts) == expected


def test_an_override_without_a_value_is_named():
  with pytest.raises(UserError, match="'eval.stride' is not FIELD=VALUE"):
    parse_overrides(['eval.stride'])


COMPILE = """
from a3dcae_jax.cli.command import define_compilation_cache, run_command
from a3dcae_jax.common import compilation_cache

compilation_cache.MIN_COMPILE_S = 0.0
compilation_cache.FIRST_JAX = (0,)
define_compilation_cache()

def main():
  import jax.numpy as jnp
  print(jnp.arange(5).sum())

run_command(main, usage='')
"""


@pytest.mark.slow
def test_a_command_keeps_compiled_programs_by_default(tmp_path, monkeypatch):
  monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
  monkeypatch.delenv('JAX_COMPILATION_CACHE_DIR', raising=False)
  for arguments, is_kept in ((['--nocompilation_cache'], False), ([], True), ([], True)):
    result = subprocess.run(
      [sys.executable, '-c', COMPILE, *arguments],
      capture_output=True,
      text=True,
      timeout=120,
      check=True,
    )
    assert result.stdout == '10\n'
    if jax.__version_info__ >= FIRST_JAX:
      assert result.stderr == ''
    assert bool(list(tmp_path.rglob('*-cache'))) == is_kept
