"""A notice that the machine is wanted back: SIGTERM, turned into a step after which every process of the run saves and ends."""

import signal
import threading

import jax


class Preempted(Exception):
  """The run was asked to end, and has saved; `step` is the checkpoint's."""

  def __init__(self, step):
    super().__init__(f'asked to end by SIGTERM: saved at step {step}')
    self.step = step


class PreemptionHandler:
  """While it is entered, SIGTERM is a notice rather than an end. `notice(step)`, asked after every step, says whether to save and end there.

  In a pod JAX catches the signal, on whichever process it arrives, and all processes agree on one step, which none has passed yet.
  """

  def __enter__(self):
    self.given, self._alone = False, jax.process_count() == 1
    self._mine = threading.current_thread() is threading.main_thread()  # no other may set handlers
    self._before = (
      signal.signal(signal.SIGTERM, self._catch) if self._alone and self._mine else None
    )
    return self

  def _catch(self, *_):
    self.given = True

  def __call__(self, step):
    if not self._alone:
      from jax.experimental import multihost_utils

      self.given = self.given or multihost_utils.reached_preemption_sync_point(step)
    return self.given

  def __exit__(self, *_):
    """SIGTERM ends the process again: what follows training has nothing to save."""
    if self._mine:
      signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)
