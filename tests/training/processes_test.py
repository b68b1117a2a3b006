"""What passes between the processes of a pod, here for the pod of one and for shares of every size; real pods are in tests/faults."""

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


@pytest.mark.parametrize('total', [0, 1, 2, 7, 33])
@pytest.mark.parametrize('num', [1, 2, 3, 5])
def test_shares_cover_everything_once(monkeypatch, total, num):
  monkeypatch.setattr(jax, 'process_count', lambda: num)
  shares = []
  for index in range(num):
    monkeypatch.setattr(jax, 'process_index', lambda index=index: index)
    shares.append(processes.my_share(total))
  assert [i for share in shares for i in range(total)[share]] == list(range(total))
  assert (
    max(len(range(total)[share]) for share in shares)
    - min(len(range(total)[share]) for share in shares)
    <= 1
  )


@pytest.mark.parametrize('total', [0, 1, 7, 33])
def test_shares_come_together_in_order(monkeypatch, total):
  rows = np.arange(total * 2, dtype=np.float32).reshape(total, 2)
  monkeypatch.setattr(jax, 'process_count', lambda: 3)
  sent, longest = [], -(-total // 3)
  for index in range(3):
    monkeypatch.setattr(jax, 'process_index', lambda index=index: index)
    mine = rows[processes.my_share(total)]
    sent.append(np.concatenate([mine, np.zeros((longest - len(mine), 2), np.float32)]))
  monkeypatch.setattr(processes, 'gather', lambda padded: np.stack(sent))
  np.testing.assert_array_equal(
    processes.gather_shares(rows[processes.my_share(total)], total), rows
  )


def test_rows_of_a_batch_follow_the_processes(monkeypatch):
  monkeypatch.setattr(jax, 'process_count', lambda: 4)
  monkeypatch.setattr(jax, 'process_index', lambda: 2)
  assert list(range(12)[parallel.my_rows(12)]) == [6, 7, 8]


def test_a_pod_of_one_passes_nothing():
  tree = {'x': np.float32([-0.0, np.nan])}
  assert (
    processes.broadcast(tree) is tree
    and processes.run_on_primary('x', lambda: 5) == 5
    and processes.primary_first('y', lambda: 6) == 6
  )
  np.testing.assert_array_equal(processes.gather(np.arange(3)), [[0, 1, 2]])


def test_sigterm_ends_the_loop_after_its_step():
  seen = []

  def count(state, batch):
    if batch == 4:
      os.kill(os.getpid(), signal.SIGTERM)
    return state + 1, {'rec': np.float32(batch)}

  before = signal.getsignal(signal.SIGTERM)
  with PreemptionHandler() as notice:
    state, step = fit(
      0,
      count,
      iter(range(1, 100)),
      first_step=0,
      last_step=99,
      read_every_steps=50,
      preempted=lambda step: seen.append(step) or notice(step),
    )
  assert (state, step) == (4, 4) and notice.given and seen == [1, 2, 3, 4]
  assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_run_in_a_workdir_is_refused(tmp_path):
  with WorkdirLock(tmp_path / 'run') as lock:
    lock.take()
    lock.take()
    with (
      WorkdirLock(tmp_path / 'run') as other,
      pytest.raises(UserError, match=rf'in use by another run \(process {os.getpid()} on '),
    ):
      other.take()
  with WorkdirLock(tmp_path / 'run') as lock:
    lock.take()
