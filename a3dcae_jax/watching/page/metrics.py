"""Counts and gauges of all sources for Prometheus."""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from a3dcae_jax.watching.page.feed import Feed

# Field of a state -> name of the metric, and what it says.
_COUNTERS = {
  'captured': ('frames_captured', 'Frames that came'),
  'scored': ('frames_scored', 'Frames with a score'),
  'dropped': ('frames_dropped', 'Frames that were dropped because scoring was too slow'),
  'lost_files': ('lost_files', 'Stills, clips and lines that could not be written'),
  'events': ('events', 'Abnormal events'),
}
_GAUGES = {
  'score': ('score', 'Last score'),
  'threshold': ('threshold', 'Score from which on a frame is abnormal'),
  'latency_s': ('latency_seconds', 'Longest time from a frame to its score in the last seconds'),
}


class SourceCollector(Collector):
  """Reads all figures when Prometheus asks for them."""

  def __init__(self, feed: Feed) -> None:
    """Collect from a feed."""
    self._feed = feed

  def collect(self) -> Iterator[Any]:
    """Yield all metrics; sources that have ended are left out."""
    states = [view.state() for view in self._feed.views()]
    states = [state for state in states if state['state'] != 'ended']
    for field, (name, text) in _COUNTERS.items():
      family = CounterMetricFamily(f'a3dcae_{name}', text, labels=['source'])
      for state in states:
        family.add_metric([state['name']], state[field])
      yield family
    for field, (name, text) in _GAUGES.items():
      family = GaugeMetricFamily(f'a3dcae_{name}', text, labels=['source'])
      for state in states:
        if state[field] is not None:
          family.add_metric([state['name']], state[field])
      yield family
    yield self._faults(states)
    yield self._up(states)

  def describe(self) -> list[Any]:
    """Return nothing: the metrics are known once they are collected."""
    return []

  def _faults(self, states):
    family = CounterMetricFamily('a3dcae_faults', 'Faults of sources', labels=['source', 'kind'])
    for state in states:
      for kind, count in state['faults'].items():
        family.add_metric([state['name'], kind], count)
    return family

  def _up(self, states):
    family = GaugeMetricFamily(
      'a3dcae_source_up', '1 if the source has no fault, otherwise 0', labels=['source']
    )
    for state in states:
      family.add_metric([state['name']], float(state['state'] in ('ok', 'abnormal')))
    return family


def make_registry(feed: Feed) -> CollectorRegistry:
  """Return a registry with the figures of this detector alone."""
  registry = CollectorRegistry()
  registry.register(SourceCollector(feed))
  return registry


def metrics_text(registry: CollectorRegistry) -> bytes:
  """Return all metrics as Prometheus text."""
  return generate_latest(registry)
