"""The ways to start a pod, as far as they can be tried without a cluster: with stand-ins for its commands, and by what their files must hold."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from launch import local

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = (*sorted((ROOT / 'launch').glob('*.sh')), ROOT / 'launch' / 'slurm.sbatch')


@pytest.fixture
def stand_ins(tmp_path):
  """Makes commands that log their arguments to `log` and end with the next of the given statuses."""

  def make(**statuses):
    for name, ends in statuses.items():
      path = tmp_path / name
      path.write_text(
        f'#!/bin/bash\necho "{name} $*" >> {tmp_path}/log\nread -r status rest < {path}.ends\n[ -n "$rest" ] && echo "$rest" > {path}.ends\n'
        'exit "$status"\n'
      )
      path.with_suffix('.ends').write_text(' '.join(map(str, ends)) + '\n')
      path.chmod(0o755)
    return tmp_path / 'log', os.environ | {'PATH': f'{tmp_path}:{os.environ["PATH"]}'}

  return make


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_sound(script):
  checker = ['shellcheck', '-S', 'warning'] if shutil.which('shellcheck') else ['bash', '-n']
  result = subprocess.run([*checker, str(script)], capture_output=True, text=True, check=False)
  assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
  'status, requeued', [(0, False), (2, False), (75, True), (76, True), (134, True)]
)
def test_slurm_queues_again_what_can_go_on(stand_ins, status, requeued):
  log, environ = stand_ins(srun=[status], scontrol=[0])
  result = subprocess.run(
    ['bash', str(ROOT / 'launch' / 'slurm.sbatch'), '--workdir=a b'],
    env=environ | {'SLURM_JOB_ID': '7'},
    check=False,
    capture_output=True,
    text=True,
  )
  calls = log.read_text()
  assert (
    result.returncode == status
    and '-m a3dcae_jax.main --workdir=a b' in calls
    and '--kill-on-bad-exit=1' in calls
  )
  assert ('scontrol requeue 7' in calls) == requeued


def test_slurm_asks_for_one_task_a_node():
  options = [
    line.split()[1]
    for line in (ROOT / 'launch' / 'slurm.sbatch').read_text().splitlines()
    if line.startswith('#SBATCH')
  ]
  assert {'--ntasks-per-node=1', '--requeue', '--signal=TERM@120'} <= set(options)


def test_a_tpu_slice_is_only_planned_in_a_dry_run(stand_ins):
  log, environ = stand_ins(gcloud=[1])
  environ |= {'PROJECT': 'p', 'ZONE': 'z', 'SOURCE': 's', 'DRY_RUN': '1', 'SPOT': '1'}
  result = subprocess.run(
    ['bash', 'launch/tpu_pod.sh', '--workdir=a b'],
    cwd=ROOT,
    env=environ,
    capture_output=True,
    text=True,
    check=True,
  )
  assert (
    not log.exists()
    and 'queued-resources create a3dcae' in result.stdout
    and '--spot' in result.stdout
  )
  assert (
    r'--worker=all --command=PYTHONUNBUFFERED=1 python3 -m a3dcae_jax.main --workdir=a\ b'
    in result.stdout
  )


def test_a_tpu_slice_without_project_or_flags_is_refused():
  environ = {'PATH': os.environ['PATH'], 'ZONE': 'z', 'SOURCE': 's'}
  result = subprocess.run(
    ['bash', 'launch/tpu_pod.sh'],
    cwd=ROOT,
    env=environ,
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode and 'set PROJECT' in result.stderr
  result = subprocess.run(
    ['bash', 'launch/tpu_pod.sh'],
    cwd=ROOT,
    env=environ | {'PROJECT': 'p'},
    capture_output=True,
    text=True,
    check=False,
  )
  assert result.returncode == 2 and 'no flags' in result.stderr


def test_the_jobset_holds_together():
  yaml = pytest.importorskip('yaml')
  jobset = yaml.safe_load((ROOT / 'launch' / 'gke_jobset.yaml').read_text())
  assert (jobset['apiVersion'], jobset['kind']) == (
    'jobset.x-k8s.io/v1alpha2',
    'JobSet',
  ) and jobset['spec']['failurePolicy']['maxRestarts'] > 0
  (group,) = jobset['spec']['replicatedJobs']
  job = group['template']['spec']
  (container,) = job['template']['spec']['containers']
  environ = {entry['name']: entry['value'] for entry in container['env']}
  assert all(isinstance(value, str) for value in environ.values())
  assert (
    job['completionMode'] == 'Indexed'
    and job['backoffLimit'] == 0
    and job['template']['spec']['restartPolicy'] == 'Never'
  )
  assert (
    job['parallelism'] == job['completions'] == int(environ['JAX_NUM_PROCESSES'])
    and group['replicas'] == 1
  )
  name = jobset['metadata']['name']
  assert (
    environ['JAX_COORDINATOR_ADDRESS']
    == f'{name}-{group["name"]}-0-0.{name}:{container["ports"][0]["containerPort"]}'
  )
  assert container['command'] == ['python', '-m', 'a3dcae_jax.main'] and any(
    arg.startswith('--workdir=') for arg in container['args']
  )
  (rule,) = job['podFailurePolicy']['rules']
  assert rule['onExitCodes'] == {
    'containerName': container['name'],
    'operator': 'In',
    'values': [2],
  }
  mounted = {mount['name'] for mount in container['volumeMounts']}
  assert (
    mounted == {volume['name'] for volume in job['template']['spec']['volumes']}
    if 'volumes' in job['template']['spec']
    else not mounted
  )
  assert jobset['spec']['failurePolicy']['rules'][0]['action'] == 'FailJobSet'


def test_local_gives_each_process_its_flags():
  first, second = local.commands(['-m', 'x', '--y'], processes=2, coordinator='here:1', python='py')
  assert (
    first == ['py', '-m', 'x', '--y', '--coordinator=here:1', '--num_processes=2', '--process_id=0']
    and second[-1] == '--process_id=1'
  )


@pytest.mark.parametrize(
  'body, status',
  [
    ('sys.exit(0)', 0),
    ('sys.exit(75 if me else 0)', 75),
    (
      'os.kill(os.getpid(), 9) if me else time.sleep(60)',
      137,
    ),  # the other has to be killed after its grace
  ],
)
def test_local_ends_with_the_first_failure(tmp_path, body, status):
  (tmp_path / 'x.py').write_text(
    f'import os, sys, time\nme = sys.argv[-1].endswith("1")\nprint("hello", me)\n{body}\n'
  )
  result = subprocess.run(
    [sys.executable, 'launch/local.py', '--grace_s=0.2', '--', str(tmp_path / 'x.py')],
    cwd=ROOT,
    capture_output=True,
    text=True,
    timeout=50,
    check=False,
  )
  assert (
    result.returncode == status
    and '[0] hello False' in result.stdout
    and '[1] hello True' in result.stdout
  )
  assert ('did not end by itself' in result.stdout) == (status == 137)
