"""Settings of the tests that give any input to a reader."""

from hypothesis import HealthCheck, settings

# The same hundred inputs in every run, without a limit of time: machines are slow and shared.
hundred = settings(
  max_examples=100,
  deadline=None,
  derandomize=True,
  database=None,
  suppress_health_check=list(HealthCheck),
)
