"""Values passed between processes, in a pod of one and in shares of any size.

Pods of real processes are in tests/faults.
"""

import os
import signal

import jax
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.run.lock import WorkdirLock
from a3dcae_jax.training import parallel, processes
from a3dcae_jax.training.loop import fit
from a3dcae_jax.training.preemption import PreemptionHandler


def shares_of(monkeypatch, total, num_processes):
  """Return the share of each process."""
  monkeypatch.setattr(jax, 'process_count', lambda: num_processes)
  shares = []
  for index in range(num_processes):
    monkeypatch.setattr(jax, 'process_index', lambda index=index: index)
    shares.append(processes.my_share(total))
  return shares


@pytest.mark.parametrize('total', [0, 1, 2, 7, 33])
@pytest.mark.parametrize('num_processes', [1, 2, 3, 5])
def test_shares_cover_everything_once_and_evenly(monkeypatch, total, num_processes):
  shares = shares_of(monkeypatch, total, num_processes)
  items = [item for share in shares for item in range(total)[share]]
  assert items == list(range(total))
  lengths = [share.stop - share.start for share in shares]
  assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize('total', [0, 1, 7, 33])
def test_gathered_shares_are_in_order(monkeypatch, total):
  rows = np.arange(total * 2, dtype=np.float32).reshape(total, 2)
  longest = -(-total // 3)
  sent = []
  for share in shares_of(monkeypatch, total, 3):
    padded = np.zeros((longest, 2), np.float32)
    padded[: share.stop - share.start] = rows[share]
    sent.append(padded)
  monkeypatch.setattr(processes, 'gather', lambda padded: np.stack(sent))
  own = rows[processes.my_share(total)]
  np.testing.assert_array_equal(processes.gather_shares(own, total), rows)


def test_rows_of_a_batch_follow_the_order_of_the_processes(monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: 4)
  monkeypatch.setattr(jax, 'process_index', lambda: 2)
  assert list(range(12)[parallel.my_rows(12)]) == [6, 7, 8]


def test_a_pod_of_one_returns_its_input():
  tree = {'x': np.float32([-0.0, np.nan])}
  assert processes.broadcast(tree) is tree
  assert processes.run_on_primary('x', lambda: 5) == 5
  assert processes.primary_first('y', lambda: 6) == 6
  np.testing.assert_array_equal(processes.gather(np.arange(3)), [[0, 1, 2]])


@pytest.fixture
def ctrl_c():
  """Let Ctrl-C raise `KeyboardInterrupt`, also where the tests run in the background."""
  before = signal.signal(signal.SIGINT, signal.default_int_handler)
  yield
  signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize('number', [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_loop_after_its_step(number, ctrl_c):
  asked = []

  def count(state, batch):
    if batch == 4:
      os.kill(os.getpid(), number)
    return state + 1, {'rec': np.float32(batch)}

  before = signal.getsignal(number)
  with PreemptionHandler() as handler:

    def preempted(step):
      asked.append(step)
      return handler(step)

    state, step = fit(
      0,
      count,
      iter(range(1, 100)),
      first_step=0,
      last_step=99,
      read_every_steps=50,
      preempted=preempted,
    )
  assert (state, step) == (4, 4)
  assert handler.given == number
  assert asked == [1, 2, 3, 4]
  assert signal.getsignal(number) is before


def test_a_second_ctrl_c_ends_at_once(ctrl_c):
  with PreemptionHandler() as handler:
    signal.raise_signal(signal.SIGINT)
    assert handler(1)
    with pytest.raises(KeyboardInterrupt):
      signal.raise_signal(signal.SIGINT)


def test_ctrl_c_stays_ignored_in_the_background(ctrl_c):
  signal.signal(signal.SIGINT, signal.SIG_IGN)
  with PreemptionHandler() as handler:
    signal.raise_signal(signal.SIGINT)
    assert not handler(1)
  assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_second_run_in_a_workdir_is_refused(tmp_path):
  folder = tmp_path / 'run'
  with WorkdirLock(folder) as lock:
    lock.take()
    lock.take()  # nothing happens the second time
    message = rf'in use by another run \(process {os.getpid()} on '
    with WorkdirLock(folder) as other, pytest.raises(UserError, match=message):
      other.take()
  with WorkdirLock(folder) as lock:
    lock.take()
