"""Preemption: SIGTERM makes all processes of a run save at the same step and end."""

import signal
import threading
from types import FrameType, TracebackType

import jax


class Preempted(Exception):
  """The run was told to end, and has saved.

  Attributes:
    step: step of the checkpoint.
  """

  def __init__(self, step: int) -> None:
    super().__init__(f'asked to end by SIGTERM: saved at step {step}')
    self.step = step


class PreemptionHandler:
  """A context in which SIGTERM becomes a request to save and end.

  Called after every step with its number, it returns whether to save and end there. In a pod JAX
  catches the signal, on whichever process it arrives, and all processes agree on a step that none
  of them has passed yet.

  Attributes:
    given: whether the signal has arrived.
  """

  def __init__(self) -> None:
    self.given = False
    self._is_alone = jax.process_count() == 1
    # Python allows only the main thread to set handlers.
    self._is_main = threading.current_thread() is threading.main_thread()
    self._before = None

  def __enter__(self) -> 'PreemptionHandler':
    if self._is_alone and self._is_main:
      self._before = signal.signal(signal.SIGTERM, self._catch)
    return self

  def __call__(self, step: int) -> bool:
    if not self._is_alone and not self.given:
      from jax.experimental import multihost_utils

      self.given = multihost_utils.reached_preemption_sync_point(step)
    return self.given

  def __exit__(
    self,
    kind: type[BaseException] | None,
    error: BaseException | None,
    traceback: TracebackType | None,
  ) -> None:
    """Let SIGTERM end the process again; after training there is nothing to save."""
    if self._is_main:
      signal.signal(signal.SIGTERM, self._before or signal.SIG_DFL)

  def _catch(self, number: int, frame: FrameType | None) -> None:
    self.given = True
