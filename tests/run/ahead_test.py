"""Work beside the training of a run."""

import jax
import pytest

from a3dcae_jax.run.ahead import beside


@pytest.mark.parametrize('platform, times', [('gpu', 1), ('cpu', 0)])
def test_accelerators_leave_the_cores_to_the_compiler(monkeypatch, platform, times):
  monkeypatch.setattr(jax, 'default_backend', lambda: platform)
  done = []
  with beside(lambda: done.append(1)) as start:
    start()
  assert len(done) == times


def test_what_fails_there_does_not_end_the_run(monkeypatch):
  monkeypatch.setattr(jax, 'default_backend', lambda: 'tpu')
  with beside(lambda: 1 / 0) as start:
    start()
