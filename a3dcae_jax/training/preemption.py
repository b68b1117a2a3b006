"""Preemption: SIGTERM or Ctrl-C makes all processes save and end together."""

import os
import signal
import threading
from types import FrameType, TracebackType

import jax


class Preempted(Exception):
  """The run was told to end, and has saved.

  Attributes:
    step: step of the checkpoint.
    asked_by: SIGTERM, or SIGINT for Ctrl-C.
  """

  def __init__(self, step: int, asked_by: signal.Signals) -> None:
    super().__init__(f'asked to end by {asked_by.name}: saved at step {step}')
    self.step = step
    self.asked_by = asked_by


class PreemptionHandler:
  """A context in which SIGTERM and Ctrl-C become a request to save and end.

  Called after every step with its number, it returns whether to save and end there. In a pod JAX
  catches the signal, on whichever process it arrives, and all processes agree on a step that none
  of them has passed yet. A second Ctrl-C, and any in a pod, ends the process at once.

  Attributes:
    given: the signal that has arrived, or None.
  """

  def __init__(self) -> None:
    self.given: signal.Signals | None = None
    self._is_alone = jax.process_count() == 1
    # Python allows only the main thread to set handlers.
    self._is_main = threading.current_thread() is threading.main_thread()
    self._before = {}

  def __enter__(self) -> 'PreemptionHandler':
    if self._is_alone and self._is_main:
      self._before[signal.SIGTERM] = signal.signal(signal.SIGTERM, self._catch)
      if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not in the background
        self._before[signal.SIGINT] = signal.signal(signal.SIGINT, self._catch)
    return self

  def __call__(self, step: int) -> bool:
    if not self._is_alone and not self.given:
      from jax.experimental import multihost_utils

      if multihost_utils.reached_preemption_sync_point(step):
        self.given = signal.SIGTERM
    return self.given is not None

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
  ) -> None:
    """Let the signals end the process again; after training there is nothing to save."""
    if self._is_main:
      for number, handler in ({signal.SIGTERM: signal.SIG_DFL} | self._before).items():
        signal.signal(number, handler or signal.SIG_DFL)

  def _catch(self, number: int, frame: FrameType | None) -> None:
    self.given = signal.Signals(number)
    if number == signal.SIGINT:
      signal.signal(signal.SIGINT, self._before[signal.SIGINT])
      # Not `print`, which the signal may have interrupted.
      os.write(2, b'\nsaving after this update; Ctrl-C again ends at once\n')
