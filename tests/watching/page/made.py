"""Made sources, scores and events for the tests of the page."""

import datetime
import types

import av
import numpy as np

from a3dcae_jax.serving.stream import FrameScore
from a3dcae_jax.watching.recorder import Picture
from a3dcae_jax.watching.sources import Source

START_S = 1_790_000_000.0


def source(name='door', kind='address'):
  return Source('rtsp://host/live', kind, name, 'rtsp://host/live')


def scored(frame, score, heat=None):
  heat = np.zeros((4, 6)) if heat is None else heat
  return FrameScore(stream=0, frame=frame, score=score, error=0.1, heat=heat, objects=None)


def picture(frame, grey=128):
  image = av.VideoFrame.from_ndarray(np.full((64, 96), grey, np.uint8), format='gray')
  return Picture(frame, frame / 25, image.reformat(format='yuv420p'))


def record(kind, change, name, *, at_s=0.0, source='door', **more):
  """Return a message on an event or a fault, as in `events.jsonl`."""
  time = datetime.datetime.fromtimestamp(START_S + at_s, datetime.UTC)
  values = {'type': change, 'kind': kind, 'id': name, 'source': source, 'message': kind}
  if kind == 'abnormal':
    values |= {'peak_score': 6.0, 'threshold': 5.0, 'first_frame': 40, 'last_frame': 69}
  return values | {'time': time.isoformat(timespec='milliseconds')} | more


def watch(view, *, captured=0, scored=0, dropped=0, fault='', events=0, threshold=5.0):
  """Return what `SourceView.measure` reads of a watch."""
  reader = types.SimpleNamespace(captured=captured, dropped=dropped)
  return types.SimpleNamespace(
    view=view,
    reader=reader,
    scored=scored,
    dropped_files=0,
    events=events,
    fault=fault,
    threshold=threshold,
  )
