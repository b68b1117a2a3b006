"""Detection of pods, from environments that real launchers set."""

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.training.cluster import PORT, Pod, detect, first_host

SLURM = {
  'SLURM_JOB_ID': '4242',
  'SLURM_NTASKS': '4',
  'SLURM_STEP_NODELIST': 'gpu[007-010]',
  'SLURM_STEP_NUM_TASKS': '4',
  'SLURM_PROCID': '2',
  'SLURM_LOCALID': '0',
  'SLURM_STEP_TASKS_PER_NODE': '1(x4)',
}
MPI = {
  'OMPI_COMM_WORLD_SIZE': '2',
  'OMPI_COMM_WORLD_RANK': '1',
  'OMPI_COMM_WORLD_LOCAL_RANK': '0',
  'OMPI_COMM_WORLD_LOCAL_SIZE': '1',
  'OMPI_MCA_orte_hnp_uri': '1531576320.0;tcp://10.96.0.1,10.148.0.1:34911',
}
JOBSET = {
  'KUBERNETES_SERVICE_HOST': '10.0.0.1',
  'JAX_COORDINATOR_ADDRESS': 'a3dcae-workers-0-0.a3dcae',
  'JAX_NUM_PROCESSES': '4',
  'JOB_COMPLETION_INDEX': '3',
}
GKE_TPU = {'TPU_WORKER_HOSTNAMES': 'host-0.tpu,host-1.tpu', 'TPU_WORKER_ID': '1'}


def without(environ, name):
  return {key: value for key, value in environ.items() if key != name}


def no_metadata(name):
  return ''


@pytest.mark.parametrize(
  'environ, expected',
  [
    (SLURM, Pod('gpu007:61586', 4, 2, None, 'SLURM job 4242')),
    (
      SLURM | {'SLURM_STEP_TASKS_PER_NODE': '2(x2)', 'SLURM_LOCALID': '1'},
      Pod('gpu007:61586', 4, 2, (1,), 'SLURM job 4242'),
    ),
    (MPI, Pod(f'10.96.0.1:{PORT}', 2, 1, None, 'Open MPI')),
    (MPI | {'JAX_COORDINATOR_ADDRESS': 'node1:99'}, Pod('node1:99', 2, 1, None, 'Open MPI')),
    (
      MPI | {'OMPI_COMM_WORLD_LOCAL_SIZE': '2', 'OMPI_COMM_WORLD_LOCAL_RANK': '1'},
      Pod(f'10.96.0.1:{PORT}', 2, 1, (1,), 'Open MPI'),
    ),
    (JOBSET, Pod(f'a3dcae-workers-0-0.a3dcae:{PORT}', 4, 3, None, 'Kubernetes')),
    (
      {'JAX_COORDINATOR_ADDRESS': 'a:1', 'JAX_NUM_PROCESSES': '2', 'JAX_PROCESS_ID': '1'},
      Pod('a:1', 2, 1, None, 'JAX_COORDINATOR_ADDRESS'),
    ),
    (GKE_TPU, Pod(f'host-0.tpu:{PORT}', 2, 1, None, 'Cloud TPU, 1 slice')),
    (
      GKE_TPU
      | {
        'MEGASCALE_NUM_SLICES': '2',
        'MEGASCALE_SLICE_ID': '1',
        'MEGASCALE_COORDINATOR_ADDRESS': 'first.tpu:8080',
      },
      Pod(f'first.tpu:{PORT}', 4, 3, None, 'Cloud TPU, 2 slices'),
    ),
  ],
)
def test_a_complete_environment_is_a_pod(environ, expected):
  assert detect(environ, metadata=no_metadata) == expected
  assert int(expected.coordinator.rpartition(':')[2]) < 65536


def test_the_metadata_of_a_tpu_machine_is_read_unless_jax_runs_on_cpus():
  attributes = {
    'worker-network-endpoints': 'a:1:10.0.0.2,b:2:10.0.0.3',
    'agent-worker-number': '1',
  }

  def metadata(name):
    return attributes.get(name, '')

  expected = Pod(f'10.0.0.2:{PORT}', 2, 1, None, 'Cloud TPU, 1 slice')
  assert detect({}, metadata=metadata) == expected
  assert detect({'JAX_PLATFORMS': 'cpu'}, metadata=metadata) == Pod()


@pytest.mark.parametrize(
  'environ, note',
  [
    ({}, ''),
    # A shell of salloc.
    (without(SLURM, 'SLURM_PROCID'), 'not a step of srun (SLURM_PROCID is not set)'),
    # The script of sbatch.
    (without(SLURM, 'SLURM_STEP_NODELIST'), 'not a step of srun (SLURM_STEP_NODELIST is not set)'),
    # srun --pty bash
    (SLURM | {'SLURM_PTY_PORT': '1'}, 'interactive shell'),
    (SLURM | {'SLURM_STEP_NUM_TASKS': '1', 'SLURM_PROCID': '0'}, 'one task'),
    (MPI | {'OMPI_COMM_WORLD_SIZE': '1'}, 'Open MPI, 1 process'),
    (without(MPI, 'OMPI_COMM_WORLD_RANK'), 'no rank'),
    # Open MPI 5.
    (without(MPI, 'OMPI_MCA_orte_hnp_uri'), 'set JAX_COORDINATOR_ADDRESS'),
    (without(JOBSET, 'JAX_NUM_PROCESSES'), 'JAX_COORDINATOR_ADDRESS, JOB_COMPLETION_INDEX alone'),
    (JOBSET | {'JAX_NUM_PROCESSES': '1'}, 'one process'),
    (GKE_TPU | {'TPU_WORKER_HOSTNAMES': 'localhost'}, ''),
    (GKE_TPU | {'TPU_WORKER_HOSTNAMES': 'host-0.tpu'}, 'one host'),
  ],
)
def test_an_incomplete_environment_is_no_pod_and_has_a_note(environ, note):
  pod = detect(environ, metadata=no_metadata)
  assert pod[:4] == Pod()[:4]
  assert note in pod.note
  assert bool(note) == bool(pod.note)


def test_flags_come_first():
  pod = detect(SLURM, coordinator='here:1', num_processes=2, process_id=0)
  assert pod == Pod('here:1', 2, 0, None, 'flags')


@pytest.mark.parametrize(
  'flags, message',
  [
    ({'coordinator': 'here:1', 'num_processes': 2}, r'--process_id \(=-1\) go together'),
    ({'process_id': 0}, "--coordinator \\(=''\\)"),
    (
      {'coordinator': 'here:1', 'num_processes': 2, 'process_id': 2},
      'process 2 of 2 does not exist',
    ),
    ({'coordinator': 'here', 'num_processes': 2, 'process_id': 0}, "'here' is not HOST:PORT"),
  ],
)
def test_flags_that_do_not_fit_are_named(flags, message):
  with pytest.raises(UserError, match=message):
    detect({}, **flags)


def test_a_variable_that_is_not_a_number_is_named():
  with pytest.raises(UserError, match=r"SLURM_PROCID \(='two'\) is not a number"):
    detect(SLURM | {'SLURM_PROCID': 'two'})


@pytest.mark.parametrize(
  'nodes, host',
  [
    ('node001', 'node001'),
    ('node001,host2', 'node001'),
    ('node[001-015],host2', 'node001'),
    ('node[001,007-015],host2', 'node001'),
    ('gpu-a[3]-ib', 'gpu-a3-ib'),
  ],
)
def test_the_first_host_of_a_node_list(nodes, host):
  assert first_host(nodes) == host
