"""Launchers, with stand-ins for the commands of a cluster."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

from launch import local

ROOT = pathlib.Path(__file__).parents[2]
SCRIPTS = (
  *sorted((ROOT / 'launch').glob('*.sh')),
  ROOT / 'launch' / 'slurm.sbatch',
  ROOT / 'launch' / 'slurm_array.sbatch',
  ROOT / 'tools' / 'gpu_check.sh',
  ROOT / '.ci' / 'run',
)

# The stand-in logs its arguments and ends with the next status of its list; the last one repeats.
STAND_IN = """#!/bin/bash
echo "{name} $*" >> {folder}/log
read -r status rest < {folder}/{name}.ends
[ -n "$rest" ] && echo "$rest" > {folder}/{name}.ends
exit "$status"
"""


@pytest.fixture
def stand_ins(tmp_path):
  """Make stand-ins from exit statuses; return the file of their calls and a PATH."""

  def make(**statuses):
    for name, ends in statuses.items():
      path = tmp_path / name
      path.write_text(STAND_IN.format(name=name, folder=tmp_path))
      path.chmod(0o755)
      (tmp_path / f'{name}.ends').write_text(' '.join(map(str, ends)) + '\n')
    return tmp_path / 'log', {'PATH': f'{tmp_path}:{os.environ["PATH"]}'}

  return make


def run(command, environment):
  return subprocess.run(
    command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=50
  )


@pytest.mark.parametrize('script', SCRIPTS, ids=lambda path: path.name)
def test_scripts_parse(script):
  checker = ['shellcheck', '-S', 'warning'] if shutil.which('shellcheck') else ['bash', '-n']
  done = run([*checker, str(script)], os.environ)
  assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
  'status, is_requeued', [(0, False), (2, False), (75, True), (76, True), (134, True)]
)
def test_slurm_requeues_a_run_that_can_resume(stand_ins, status, is_requeued):
  log, environment = stand_ins(srun=[status], scontrol=[0])
  environment = os.environ | environment | {'SLURM_JOB_ID': '7'}
  done = run(['bash', 'launch/slurm.sbatch', '--workdir=a b'], environment)
  calls = log.read_text()
  assert done.returncode == status
  assert '-m a3dcae_jax.main --workdir=a b' in calls
  assert '--kill-on-bad-exit=1' in calls
  assert ('scontrol requeue 7' in calls) == is_requeued


@pytest.mark.parametrize('status', [0, 2, 75])
def test_a_task_of_a_slurm_array_is_requeued_after_it_was_asked_to_end(stand_ins, status):
  log, environment = stand_ins(python=[status], scontrol=[0])
  environment = os.environ | environment
  environment |= {'SLURM_ARRAY_JOB_ID': '7', 'SLURM_ARRAY_TASK_ID': '2', 'PYTHON': 'python'}
  done = run(['bash', 'launch/slurm_array.sbatch', '--table=V'], environment)
  calls = log.read_text()
  assert done.returncode == status
  assert '-m a3dcae_jax.experiments --table=V' in calls
  assert ('scontrol requeue 7_2' in calls) == (status == 75)


def test_slurm_starts_one_task_per_node_and_warns_it_before_the_limit():
  options = set()
  for line in (ROOT / 'launch' / 'slurm.sbatch').read_text().splitlines():
    if line.startswith('#SBATCH'):
      options.add(line.split()[1])
  assert {'--ntasks-per-node=1', '--requeue', '--signal=TERM@120'} <= options


def test_a_dry_run_only_prints_the_commands_for_a_tpu_slice(stand_ins):
  log, environment = stand_ins(gcloud=[1])
  slice_of = {'PROJECT': 'p', 'ZONE': 'z', 'SOURCE': 's', 'DRY_RUN': '1', 'SPOT': '1'}
  done = run(['bash', 'launch/tpu_pod.sh', '--workdir=a b'], os.environ | environment | slice_of)
  assert done.returncode == 0
  assert not log.exists()
  assert 'queued-resources create a3dcae' in done.stdout
  assert '--spot' in done.stdout
  assert '--worker=all' in done.stdout
  assert r'python3 -m a3dcae_jax.main --workdir=a\ b' in done.stdout


def test_a_preempted_tpu_run_is_started_again(stand_ins):
  # The queued resource is created and described, the package installed, and two runs started.
  log, environment = stand_ins(gcloud=[0, 0, 0, 75, 2], sleep=[0])
  (log.parent / 'gcloud').write_text(
    (log.parent / 'gcloud').read_text().replace('exit', 'echo ACTIVE\nexit')
  )
  slice_of = {'PROJECT': 'p', 'ZONE': 'z', 'SOURCE': 's'}
  done = run(['bash', 'launch/tpu_pod.sh', '--workdir=w'], os.environ | environment | slice_of)
  assert done.returncode == 2
  assert log.read_text().count('a3dcae_jax.main') == 2


def test_a_tpu_slice_without_project_or_flags_is_refused():
  environment = {'PATH': os.environ['PATH'], 'ZONE': 'z', 'SOURCE': 's'}
  done = run(['bash', 'launch/tpu_pod.sh'], environment)
  assert done.returncode
  assert 'PROJECT' in done.stderr
  done = run(['bash', 'launch/tpu_pod.sh'], environment | {'PROJECT': 'p'})
  assert done.returncode == 2
  assert 'no flags' in done.stderr


@pytest.fixture
def jobset():
  yaml = pytest.importorskip('yaml')
  return yaml.safe_load((ROOT / 'launch' / 'gke_jobset.yaml').read_text())


def test_the_hosts_of_the_jobset_find_each_other(jobset):
  name = jobset['metadata']['name']
  (group,) = jobset['spec']['replicatedJobs']
  job = group['template']['spec']
  (container,) = job['template']['spec']['containers']
  environment = {entry['name']: entry['value'] for entry in container['env']}
  assert all(isinstance(value, str) for value in environment.values())
  port = container['ports'][0]['containerPort']
  first_pod = f'{name}-{group["name"]}-0-0.{name}'
  assert environment['JAX_COORDINATOR_ADDRESS'] == f'{first_pod}:{port}'
  assert int(environment['JAX_NUM_PROCESSES']) == job['parallelism'] == job['completions']
  assert job['completionMode'] == 'Indexed'


def test_the_jobset_restarts_except_after_a_mistake_of_the_user(jobset):
  policy = jobset['spec']['failurePolicy']
  assert policy['maxRestarts'] > 0
  assert policy['rules'][0]['action'] == 'FailJobSet'
  job = jobset['spec']['replicatedJobs'][0]['template']['spec']
  assert job['backoffLimit'] == 0
  assert job['template']['spec']['restartPolicy'] == 'Never'
  (rule,) = job['podFailurePolicy']['rules']
  assert rule['action'] == 'FailJob'
  assert rule['onExitCodes']['values'] == [2]
  (container,) = job['template']['spec']['containers']
  assert rule['onExitCodes']['containerName'] == container['name']


def test_the_volumes_of_the_jobset_are_those_that_are_mounted(jobset):
  pod = jobset['spec']['replicatedJobs'][0]['template']['spec']['template']['spec']
  (container,) = pod['containers']
  mounted = {mount['name'] for mount in container['volumeMounts']}
  assert mounted == {volume['name'] for volume in pod['volumes']}


def test_each_local_process_gets_its_flags():
  first, second = local.commands(['-m', 'x', '--y'], processes=2, coordinator='here:1', python='py')
  pod = ['--coordinator=here:1', '--num_processes=2']
  assert first == ['py', '-m', 'x', '--y', *pod, '--process_id=0']
  assert second == ['py', '-m', 'x', '--y', *pod, '--process_id=1']


@pytest.mark.parametrize(
  'body, status',
  [
    ('sys.exit(0)', 0),
    ('sys.exit(75 if me else 0)', 75),
    # The other process has to be killed after its time of grace.
    ('os.kill(os.getpid(), 9) if me else time.sleep(60)', 137),
  ],
)
def test_a_local_pod_ends_with_the_first_failure(tmp_path, body, status):
  script = tmp_path / 'x.py'
  script.write_text(
    f'import os, sys, time\nme = sys.argv[-1].endswith("1")\nprint("hello", me)\n{body}\n'
  )
  done = run([sys.executable, 'launch/local.py', '--grace_s=0.2', '--', str(script)], os.environ)
  assert done.returncode == status
  assert '[0] hello False' in done.stdout
  assert '[1] hello True' in done.stdout
  assert ('killed' in done.stdout) == (status == 137)
