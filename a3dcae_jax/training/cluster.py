"""Which pod this process belongs to, read from the environment alone: nothing is started and nobody is asked but a TPU machine's own metadata.

A pod is announced by SLURM's `srun`, Open MPI's `mpirun`, a Cloud TPU slice, a Kubernetes JobSet or by flags. Variables of a launcher that are
there only in part (a shell inside a SLURM job) announce nothing: the process stays by itself, and `note` says what was seen.
"""

import glob
import re
import urllib.error
import urllib.request
from typing import NamedTuple

from a3dcae_jax.common.errors import UserError

PORT = 8476  # of the coordinator, where the launcher gives none
_METADATA = 'http://metadata.google.internal/computeMetadata/v1/instance/attributes/'


class Pod(NamedTuple):
  """Where this process stands. `coordinator` ('host:port', the address of process 0) is '' for a process by itself.

  local_devices: indices of the accelerators that are this process's own; None (one process a host): all of the host's.
  note: what was detected, for a person.
  """

  coordinator: str = ''
  num_processes: int = 1
  process_id: int = 0
  local_devices: tuple | None = None
  note: str = ''


def detect(environ, *, coordinator='', num_processes=0, process_id=-1, metadata=None):
  """The `Pod` of this process: from the three arguments (flags) if any is given, else from the first launcher that `environ` shows.

  Args:
    environ: as `os.environ`. coordinator: 'host:port'. num_processes, process_id: 0 and -1 where not given.
    metadata: name -> value or '' of a TPU machine's metadata; None asks the machine, where it has TPUs.

  Raises: UserError for flags that are incomplete or do not fit together, and for launcher variables that are no numbers.
  """
  if coordinator or num_processes or process_id >= 0:
    return _from_flags(coordinator, num_processes, process_id)
  notes = []
  for launcher in (_slurm, _open_mpi, _jobset, lambda env: _tpu(env, metadata or _tpu_metadata)):
    pod = launcher(environ)
    if pod.coordinator:
      return _checked(pod)
    notes += [pod.note] if pod.note else []
  return Pod(note='; '.join(notes))


def _from_flags(coordinator, num_processes, process_id):
  if not (coordinator and num_processes and process_id >= 0):
    raise UserError(
      f'--coordinator (={coordinator!r}), --num_processes (={num_processes}) and --process_id (={process_id}) go together'
    )
  return _checked(Pod(coordinator, num_processes, process_id, note='flags'))


def _checked(pod):
  if not 0 <= pod.process_id < pod.num_processes:
    raise UserError(
      f'{pod.note}: process {pod.process_id} of {pod.num_processes} does not exist: they count from 0'
    )
  if not re.fullmatch(r'.+:\d+', pod.coordinator):
    raise UserError(f'{pod.note}: the coordinator {pod.coordinator!r} is not HOST:PORT')
  return pod


def _number(environ, name):
  try:
    return int(environ[name])
  except ValueError:
    raise UserError(f'{name} (={environ[name]!r}) is not a number') from None


def _slurm(environ):
  """A step started by `srun` with several tasks. `salloc` and `sbatch` shells set a part of the variables, `srun --pty` all of them."""
  job = environ.get('SLURM_JOB_ID')
  if not job:
    return Pod()
  missing = [
    name
    for name in ('SLURM_STEP_NODELIST', 'SLURM_PROCID', 'SLURM_STEP_NUM_TASKS')
    if name not in environ
  ]
  if missing:
    return Pod(note=f'SLURM job {job}, but this is no step of srun ({missing[0]} is not set)')
  if 'SLURM_PTY_PORT' in environ:
    return Pod(note=f'SLURM job {job}, but this is an interactive shell (SLURM_PTY_PORT is set)')
  tasks = _number(environ, 'SLURM_STEP_NUM_TASKS')
  if tasks < 2:
    return Pod(note=f'SLURM job {job}, one task')
  here = re.match(
    r'\d+', environ.get('SLURM_STEP_TASKS_PER_NODE', '')
  )  # '2(x4)'; the first node's stand for all
  shared = here and int(here[0]) > 1 and 'SLURM_LOCALID' in environ
  port = 61440 + int(re.sub(r'\D', '', job) or 0) % 4096  # one of its own for each job on a node
  return Pod(
    f'{first_host(environ["SLURM_STEP_NODELIST"])}:{port}',
    tasks,
    _number(environ, 'SLURM_PROCID'),
    (_number(environ, 'SLURM_LOCALID'),) if shared else None,
    f'SLURM job {job}',
  )


def first_host(nodes):
  """The first name of a SLURM node list: 'gpu[007-012,020],login' -> 'gpu007'."""
  match = re.match(r'([^,\[]+)(?:\[(\w+)[^\]]*\]([^,\[]*))?', nodes)
  return ''.join(part or '' for part in match.groups()) if match else ''


def _open_mpi(environ):
  size = environ.get('OMPI_COMM_WORLD_SIZE')
  if not size:
    return Pod()
  if _number(environ, 'OMPI_COMM_WORLD_SIZE') < 2 or 'OMPI_COMM_WORLD_RANK' not in environ:
    return Pod(note=f'Open MPI, {size} process{"es, but no rank" if size != "1" else ""}')
  launcher = re.search(
    r'tcp6?://\[?([^],:]+)', environ.get('OMPI_MCA_orte_hnp_uri', '')
  )  # before Open MPI 5
  host = environ.get('JAX_COORDINATOR_ADDRESS', '') or (launcher[1] if launcher else '')
  if not host:
    return Pod(
      note='Open MPI, but the address of process 0 is not known: set JAX_COORDINATOR_ADDRESS=HOST:PORT'
    )
  shared = (
    int(environ.get('OMPI_COMM_WORLD_LOCAL_SIZE', '1')) > 1
    and 'OMPI_COMM_WORLD_LOCAL_RANK' in environ
  )
  return Pod(
    _with_port(host),
    int(size),
    _number(environ, 'OMPI_COMM_WORLD_RANK'),
    (_number(environ, 'OMPI_COMM_WORLD_LOCAL_RANK'),) if shared else None,
    'Open MPI',
  )


def _jobset(environ):
  """JAX's own variables, which `launch/gke_jobset.yaml` sets; an indexed Job numbers its pods by JOB_COMPLETION_INDEX."""
  address, count = environ.get('JAX_COORDINATOR_ADDRESS'), environ.get('JAX_NUM_PROCESSES')
  index = next(
    (name for name in ('JAX_PROCESS_ID', 'JOB_COMPLETION_INDEX') if name in environ), None
  )
  where = 'Kubernetes' if 'KUBERNETES_SERVICE_HOST' in environ else 'JAX_COORDINATOR_ADDRESS'
  if not address or not count or index is None:
    seen = [
      name
      for name in ('JAX_COORDINATOR_ADDRESS', 'JAX_NUM_PROCESSES', 'JOB_COMPLETION_INDEX')
      if name in environ
    ]
    return (
      Pod(
        note=f'{", ".join(seen)} alone: a pod needs JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID'
      )
      if seen
      else Pod()
    )
  if _number(environ, 'JAX_NUM_PROCESSES') < 2:
    return Pod(note=f'{where}, one process')
  return Pod(_with_port(address), int(count), _number(environ, index), note=where)


def _tpu(environ, metadata):
  """A slice of several hosts: GKE names them in the environment, a Cloud TPU machine in its metadata; several slices are joined by MEGASCALE."""
  hosts, worker = environ.get('TPU_WORKER_HOSTNAMES', ''), environ.get('TPU_WORKER_ID', '')
  if not hosts and 'tpu' in environ.get('JAX_PLATFORMS', 'tpu'):
    hosts, worker = metadata('worker-network-endpoints'), metadata('agent-worker-number')
    hosts = ','.join(
      entry.split(':')[-1] for entry in hosts.split(',') if entry
    )  # name:id:address, or an address alone
  names = hosts.split(',') if hosts else []
  slices = int(environ.get('MEGASCALE_NUM_SLICES', '1'))
  if len(names) * slices < 2 or not worker:
    return Pod(note='Cloud TPU, one host' if names and names != ['localhost'] else '')
  leader = environ.get('MEGASCALE_COORDINATOR_ADDRESS', '').partition(':')[0] or names[0]
  this = int(worker) + int(environ.get('MEGASCALE_SLICE_ID', '0')) * len(names)
  return Pod(
    _with_port(leader),
    len(names) * slices,
    this,
    note=f'Cloud TPU, {slices} slice{"s" if slices > 1 else ""}',
  )


def _tpu_metadata(name):
  """An attribute of the machine that this runs on, or '': only machines with TPUs are asked, and they answer at once."""
  if not (glob.glob('/dev/accel*') or glob.glob('/dev/vfio/[0-9]*')):
    return ''
  try:
    request = urllib.request.Request(_METADATA + name, headers={'Metadata-Flavor': 'Google'})
    with urllib.request.urlopen(request, timeout=3) as answer:
      return answer.read().decode()
  except (urllib.error.URLError, OSError):
    return ''


def _with_port(host):
  return host if re.search(r':\d+$', host) else f'{host}:{PORT}'
