"""Detect the pod that this process belongs to, from the environment alone.

A pod is announced by SLURM's `srun`, Open MPI's `mpirun`, a Cloud TPU slice, a Kubernetes JobSet,
or flags. Nothing is started, and only a TPU machine's own metadata server is contacted.

A launcher may have set only some of its variables, as in a shell inside a SLURM job. Then the
process stays by itself, and `Pod.note` says what was found.
"""

import functools
import glob
import re
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from typing import NamedTuple

from a3dcae_jax.common.errors import UserError

PORT = 8476  # default port of the coordinator
_METADATA = 'http://metadata.google.internal/computeMetadata/v1/instance/attributes/'
_METADATA_TIMEOUT_S = 3

# The number of a SLURM job selects its coordinator's port, so that two jobs on one node do not use
# the same one.
_SLURM_FIRST_PORT = 61440
_SLURM_NUM_PORTS = 4096


class Pod(NamedTuple):
  """A pod, and which of its processes this one is.

  Attributes:
    coordinator: 'host:port' of process 0; '' for a process by itself.
    num_processes: number of processes.
    process_id: number of this process, from 0.
    local_devices: indices of this process's own accelerators; None for all accelerators of the
      host, with one process per host.
    note: what was detected, for the user.
  """

  coordinator: str = ''
  num_processes: int = 1
  process_id: int = 0
  local_devices: tuple[int, ...] | None = None
  note: str = ''


def detect(
  environ: Mapping[str, str],
  *,
  coordinator: str = '',
  num_processes: int = 0,
  process_id: int = -1,
  metadata: Callable[[str], str] | None = None,
) -> Pod:
  """Return the pod of this process.

  The three flags decide if any of them is given; otherwise the first launcher found in `environ`.

  Args:
    environ: as `os.environ`.
    coordinator: 'host:port', '' if not given.
    num_processes: 0 if not given.
    process_id: -1 if not given.
    metadata: returns an attribute of a TPU machine by name, or ''. By default the metadata server
      is asked, if the machine has TPUs.

  Raises:
    UserError: for flags that are incomplete or do not fit together, and for launcher variables
      that are not numbers.
  """
  if coordinator or num_processes or process_id >= 0:
    return _from_flags(coordinator, num_processes, process_id)
  tpu = functools.partial(_tpu, metadata=metadata or _tpu_metadata)
  notes = []
  for launcher in (_slurm, _open_mpi, _jobset, tpu):
    pod = launcher(environ)
    if pod.coordinator:
      return _checked(pod)
    if pod.note:
      notes.append(pod.note)
  return Pod(note='; '.join(notes))


_LAUNCHER_VARIABLES = (
  'SLURM_STEP_NODELIST',
  'OMPI_COMM_WORLD_SIZE',
  'JAX_COORDINATOR_ADDRESS',
  'JAX_NUM_PROCESSES',
  'JAX_PROCESS_ID',
  'JOB_COMPLETION_INDEX',
  'TPU_WORKER_ID',
)


def without_pod(environ: Mapping[str, str]) -> dict[str, str]:
  """Return the environment of a process that stays by itself on a host of a pod."""
  alone = {name: value for name, value in environ.items() if name not in _LAUNCHER_VARIABLES}
  if 'TPU_WORKER_HOSTNAMES' in environ:
    alone['TPU_WORKER_HOSTNAMES'] = 'localhost'
  return alone


def shard_of(environ: Mapping[str, str]) -> tuple[int, int, str]:
  """Return which part of independent work this process takes, from the environment.

  Part k of n is a task of a SLURM array, or else a process of a pod.

  Args:
    environ: as `os.environ`.

  Returns:
    k from 0, n, and what was detected, for the user.

  Raises:
    UserError: as `detect`.
  """
  if environ.get('SLURM_ARRAY_TASK_ID') and environ.get('SLURM_ARRAY_TASK_COUNT'):
    count = _number(environ, 'SLURM_ARRAY_TASK_COUNT')
    first = _number(environ, 'SLURM_ARRAY_TASK_MIN') if 'SLURM_ARRAY_TASK_MIN' in environ else 0
    index = _number(environ, 'SLURM_ARRAY_TASK_ID') - first
    if not 0 <= index < count:
      raise UserError(
        f'SLURM_ARRAY_TASK_ID (={environ["SLURM_ARRAY_TASK_ID"]}): number the array without gaps, '
        'as in --array=0-3'
      )
    return index, count, 'SLURM array'
  pod = detect(environ)
  return pod.process_id, pod.num_processes, pod.note


def _from_flags(coordinator: str, num_processes: int, process_id: int) -> Pod:
  if not coordinator or not num_processes or process_id < 0:
    raise UserError(
      f'--coordinator (={coordinator!r}), --num_processes (={num_processes}) and '
      f'--process_id (={process_id}) go together'
    )
  return _checked(Pod(coordinator, num_processes, process_id, note='flags'))


def _checked(pod: Pod) -> Pod:
  if not 0 <= pod.process_id < pod.num_processes:
    raise UserError(
      f'{pod.note}: process {pod.process_id} of {pod.num_processes} does not exist: '
      'they count from 0'
    )
  if not re.fullmatch(r'.+:\d+', pod.coordinator):
    raise UserError(f'{pod.note}: the coordinator {pod.coordinator!r} is not HOST:PORT')
  return pod


def _number(environ: Mapping[str, str], name: str) -> int:
  try:
    return int(environ[name])
  except ValueError:
    raise UserError(f'{name} (={environ[name]!r}) is not a number') from None


def _slurm(environ: Mapping[str, str]) -> Pod:
  """Detect a step that `srun` has started with several tasks.

  In the shells of `salloc` and `sbatch` only some of the variables are set, under `srun --pty` all.
  """
  job = environ.get('SLURM_JOB_ID')
  if not job:
    return Pod()
  for name in ('SLURM_STEP_NODELIST', 'SLURM_PROCID', 'SLURM_STEP_NUM_TASKS'):
    if name not in environ:
      return Pod(note=f'SLURM job {job}, but not a step of srun ({name} is not set)')
  if 'SLURM_PTY_PORT' in environ:
    return Pod(note=f'SLURM job {job}, but this is an interactive shell (SLURM_PTY_PORT is set)')
  tasks = _number(environ, 'SLURM_STEP_NUM_TASKS')
  if tasks < 2:
    return Pod(note=f'SLURM job {job}, one task')
  host = first_host(environ['SLURM_STEP_NODELIST'])
  job_number = int(re.sub(r'\D', '', job) or 0)
  port = _SLURM_FIRST_PORT + job_number % _SLURM_NUM_PORTS
  return Pod(
    f'{host}:{port}',
    tasks,
    _number(environ, 'SLURM_PROCID'),
    _slurm_devices(environ),
    f'SLURM job {job}',
  )


def _slurm_devices(environ: Mapping[str, str]) -> tuple[int, ...] | None:
  """Return this task's own device, if several tasks share a node."""
  tasks = environ.get('SLURM_STEP_TASKS_PER_NODE', '')
  match = re.match(r'\d+', tasks)  # as in '2(x4)'; the first node stands for all
  if not match or int(match[0]) < 2:
    return None
  if 'SLURM_LOCALID' not in environ:
    return None
  return (_number(environ, 'SLURM_LOCALID'),)


def first_host(nodes: str) -> str:
  """Return the first host of a SLURM node list: gpu[007-012],login has gpu007."""
  match = re.match(r'([^,\[]+)(?:\[(\w+)[^\]]*\]([^,\[]*))?', nodes)
  if not match:
    return ''
  return ''.join(part or '' for part in match.groups())


def _open_mpi(environ: Mapping[str, str]) -> Pod:
  """Detect a process that `mpirun` has started."""
  if not environ.get('OMPI_COMM_WORLD_SIZE'):
    return Pod()
  size = _number(environ, 'OMPI_COMM_WORLD_SIZE')
  if size < 2:
    return Pod(note=f'Open MPI, {size} process')
  if 'OMPI_COMM_WORLD_RANK' not in environ:
    return Pod(note=f'Open MPI, {size} processes, but no rank')
  host = environ.get('JAX_COORDINATOR_ADDRESS') or _open_mpi_host(environ)
  if not host:
    return Pod(
      note='Open MPI, but the address of process 0 is not known: '
      'set JAX_COORDINATOR_ADDRESS=HOST:PORT'
    )
  devices = None
  processes_here = int(environ.get('OMPI_COMM_WORLD_LOCAL_SIZE', '1'))
  if processes_here > 1 and 'OMPI_COMM_WORLD_LOCAL_RANK' in environ:
    devices = (_number(environ, 'OMPI_COMM_WORLD_LOCAL_RANK'),)
  rank = _number(environ, 'OMPI_COMM_WORLD_RANK')
  return Pod(_with_port(host), size, rank, devices, 'Open MPI')


def _open_mpi_host(environ: Mapping[str, str]) -> str:
  """Return the host of process 0, or ''. Only Open MPI before version 5 names it."""
  match = re.search(r'tcp6?://\[?([^],:]+)', environ.get('OMPI_MCA_orte_hnp_uri', ''))
  if not match:
    return ''
  return match[1]


def _jobset(environ: Mapping[str, str]) -> Pod:
  """Detect JAX's own variables, which `launch/gke_jobset.yaml` sets.

  An indexed Kubernetes Job numbers its pods by JOB_COMPLETION_INDEX.
  """
  address = environ.get('JAX_COORDINATOR_ADDRESS')
  count = environ.get('JAX_NUM_PROCESSES')
  index_name = 'JAX_PROCESS_ID' if 'JAX_PROCESS_ID' in environ else 'JOB_COMPLETION_INDEX'
  if not address or not count or index_name not in environ:
    names = ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JOB_COMPLETION_INDEX')
    found = [name for name in names if name in environ]
    if not found:
      return Pod()
    return Pod(
      note=f'{", ".join(found)} alone: a pod needs JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES '
      'and JAX_PROCESS_ID'
    )
  where = 'Kubernetes' if 'KUBERNETES_SERVICE_HOST' in environ else 'JAX_COORDINATOR_ADDRESS'
  num_processes = _number(environ, 'JAX_NUM_PROCESSES')
  if num_processes < 2:
    return Pod(note=f'{where}, one process')
  return Pod(_with_port(address), num_processes, _number(environ, index_name), note=where)


def _tpu(environ: Mapping[str, str], metadata: Callable[[str], str]) -> Pod:
  """Detect a TPU slice of several hosts.

  GKE names the hosts in the environment, a Cloud TPU machine in its metadata. Several slices are
  joined by MEGASCALE.
  """
  hosts = [host for host in environ.get('TPU_WORKER_HOSTNAMES', '').split(',') if host]
  worker = environ.get('TPU_WORKER_ID', '')
  if not hosts and 'tpu' in environ.get('JAX_PLATFORMS', 'tpu'):
    # Each entry is an address, or name:id:address.
    endpoints = metadata('worker-network-endpoints').split(',')
    hosts = [endpoint.split(':')[-1] for endpoint in endpoints if endpoint]
    worker = metadata('agent-worker-number')
  slices = int(environ.get('MEGASCALE_NUM_SLICES', '1'))
  if len(hosts) * slices < 2 or not worker:
    is_known = hosts and hosts != ['localhost']
    return Pod(note='Cloud TPU, one host' if is_known else '')
  address = environ.get('MEGASCALE_COORDINATOR_ADDRESS', '')
  leader = address.partition(':')[0] or hosts[0]
  slice_id = int(environ.get('MEGASCALE_SLICE_ID', '0'))
  process_id = slice_id * len(hosts) + int(worker)
  plural = 's' if slices > 1 else ''
  note = f'Cloud TPU, {slices} slice{plural}'
  return Pod(_with_port(leader), len(hosts) * slices, process_id, note=note)


def _tpu_metadata(name: str) -> str:
  """Return an attribute of this machine, or ''.

  Only machines with TPUs are asked; their metadata server answers at once.
  """
  has_tpu = glob.glob('/dev/accel*') or glob.glob('/dev/vfio/[0-9]*')
  if not has_tpu:
    return ''
  request = urllib.request.Request(_METADATA + name, headers={'Metadata-Flavor': 'Google'})
  try:
    with urllib.request.urlopen(request, timeout=_METADATA_TIMEOUT_S) as answer:
      return answer.read().decode()
  except (urllib.error.URLError, OSError):
    return ''


def _with_port(host: str) -> str:
  if re.search(r':\d+$', host):
    return host
  return f'{host}:{PORT}'
