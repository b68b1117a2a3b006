"""Watch cameras, streams, videos and archives with a bundle, and report events.

  python -m a3dcae_jax.detect --bundle=camera.bundle rtsp://10.0.0.7/live door=1
  python -m a3dcae_jax.detect --bundle=camera.bundle --out=found archive/2026
  python -m a3dcae_jax.detect --bundle=camera.bundle --serve=8080 door=rtsp://10.0.0.7/live
  ffmpeg -i ... -f mjpeg - | python -m a3dcae_jax.detect --bundle=camera.bundle -

A source is a video file, a folder of images, a folder of videos, an address (rtsp, http, rtmp, udp
and others), the number of a camera, or - for standard input. NAME=SOURCE names its folder; NAME has
letters, digits, - and _.

Each source has a folder in --out with scores.csv, events.jsonl, and a still and a clip of each
event. Files are read whole. Live sources drop frames when scoring is too slow, count them, and are
opened again when they break. An archive goes on where it was stopped.

Exit status: 0; 2 for a mistake, if a file could not be read to its end, or if
scores could not be written.
"""

import math
import pathlib
import re
from collections.abc import Sequence

from absl import flags

from a3dcae_jax.cli.command import (
  EXIT_USER_ERROR,
  define_compilation_cache,
  given_path,
  output_path,
  run_command,
)
from a3dcae_jax.cli.pod import read_shard
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.jax_environment import check_devices
from a3dcae_jax.common.tuning import use_one_blas_thread
from a3dcae_jax.data.video import size_fault

_BUNDLE = flags.DEFINE_string('bundle', '', 'Folder of the bundle.')
_OUT = flags.DEFINE_string(
  'out', 'detections', 'Folder of the results: new, or of an earlier call.'
)
_DETECTOR = flags.DEFINE_string(
  'detector',
  '',
  'File of the detector of objects, for a bundle that was made with one and does not contain it.',
)
_THRESHOLD = flags.DEFINE_float(
  'threshold', None, "Score from which on a frame is abnormal; by default the bundle's."
)
_FEEDBACK = flags.DEFINE_bool(
  'feedback',
  False,
  "Raise each source's threshold above its events that were marked as normal on the page.",
)
_HOURS = flags.DEFINE_multi_string(
  'thresholds_by_hour',
  [],
  'File with a threshold for each hour of the day, as --learn_hours writes it, for all live '
  'sources; NAME=FILE for the source of that name.',
)
_LEARN_HOURS = flags.DEFINE_string(
  'learn_hours',
  '',
  'File to write instead of watching anything: a threshold for each hour of the day. The sources '
  'are the scores.csv of three or more normal days of one camera.',
)
_MASK = flags.DEFINE_multi_string(
  'mask',
  [],
  'Ignored regions: an image, of which all but the black parts are ignored, or a JSON file of '
  'polygons; NAME=FILE for the source of that name.',
)
_LATE = flags.DEFINE_enum(
  'late',
  'auto',
  ['auto', 'wait', 'drop'],
  'Frames that come faster than they are scored wait, or the oldest are dropped; auto: only those '
  'of live sources are dropped.',
)
_OVERLAY = flags.DEFINE_bool(
  'overlay', False, 'Write overlay.mp4 for each source: pictures, heat map or boxes, score.'
)
_WEBHOOK = flags.DEFINE_string('webhook', '', 'Address to which each message is posted as JSON.')
_EXEC = flags.DEFINE_string(
  'exec', '', 'Program that is run for each message, with the JSON on its standard input.'
)
_MQTT = flags.DEFINE_string(
  'mqtt',
  '',
  'mqtt://USER@HOST:PORT/PREFIX to publish messages (extra mqtt); the password is in '
  'A3DCAE_MQTT_PASSWORD.',
)
_SERVE = flags.DEFINE_string(
  'serve',
  '',
  'PORT, HOST:PORT or [HOST]:PORT of a live page (extra serve); PORT alone: only for this machine.',
)
_TOKEN_FILE = flags.DEFINE_string(
  'token_file',
  '',
  'File with the token that the page asks for; by default the environment variable A3DCAE_TOKEN. '
  'Without a token only this machine can see the page.',
)
_RAW = flags.DEFINE_string(
  'raw', '', 'WIDTHxHEIGHT: standard input has raw grey frames of one byte per pixel.'
)
_SHARD = flags.DEFINE_string(
  'shard', '', "K/N: take the K-th of N parts of the sources; by default the environment's."
)
_KEEP_DAYS = flags.DEFINE_float(
  'keep_days',
  0.0,
  'Days after which stills and clips of live sources are removed; 0: never. Scores stay.',
  lower_bound=0,
)
_UNTIL = flags.DEFINE_float('until', 0.0, 'Seconds after which to end; 0: never.', lower_bound=0)
_STATUS = flags.DEFINE_float('status_s', 5.0, 'Seconds between status lines.', lower_bound=0.1)
define_compilation_cache()


def main(texts: Sequence[str]) -> int | None:
  """Check the flags and watch the sources that follow them."""
  use_one_blas_thread()
  bundle = given_path(_BUNDLE, 'as in --bundle=camera.bundle')
  out = pathlib.Path(given_path(_OUT, 'as in --out=detections'))
  _check_flags()
  if _LEARN_HOURS.value:
    _learn_hours(bundle, texts)
    return None
  raw = _size(_RAW.value)
  from a3dcae_jax.watching.notify import make_notifiers
  from a3dcae_jax.watching.page.server import make_page
  from a3dcae_jax.watching.sources import find_sources

  number, count = read_shard(_SHARD.value)
  sources = find_sources(texts, (number, count))
  if not sources:
    print(f'part {number + 1} of {count} has no source: the other parts have them all. Done.')
    return None
  if raw and not any(source.kind == 'pipe' for source in sources):
    raise UserError('--raw goes with the source -')
  page = make_page(_SERVE.value, _TOKEN_FILE.value)
  check_devices()
  # Imports JAX, after the flags are checked: --help and mistakes do not wait for it.
  from a3dcae_jax.watching.session import Options, detect

  options = Options(
    out=out,
    detector=given_path(_DETECTOR),
    threshold=_THRESHOLD.value,
    drops={'auto': None, 'wait': False, 'drop': True}[_LATE.value],
    overlay=_OVERLAY.value,
    masks=_MASK.value,
    hours=_HOURS.value,
    raw=raw,
    keep_days=_KEEP_DAYS.value,
    until_s=_UNTIL.value,
    status_s=_STATUS.value,
    feedback=_FEEDBACK.value,
  )
  notifiers = make_notifiers(_WEBHOOK.value, _EXEC.value, _MQTT.value)
  return EXIT_USER_ERROR if detect(bundle, sources, options, notifiers, page) else None


def _check_flags() -> None:
  """Check that numbers are finite, and that there is one way to find the threshold."""
  for flag in (_THRESHOLD, _KEEP_DAYS, _UNTIL, _STATUS):
    if flag.value is not None and not math.isfinite(flag.value):
      raise UserError(f'--{flag.name} (={flag.value}) must be a finite number')
  if _HOURS.value and _THRESHOLD.value is not None:
    raise UserError('--threshold and --thresholds_by_hour exclude each other: give one of them')


def _learn_hours(bundle: str, files: Sequence[str]) -> None:
  if not files:
    raise UserError('--learn_hours: name the scores.csv of a camera, as detections/door/scores.csv')
  out = pathlib.Path(output_path(_LEARN_HOURS))
  if out.is_dir():
    raise UserError(f'--learn_hours={out} is a folder: name a file, as in door.json')
  check_devices()
  from a3dcae_jax.watching.hours import learn_hours

  learn_hours(bundle, files, out)


def _size(text: str) -> tuple[int, int] | None:
  if not text:
    return None
  match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
  if not match:
    raise UserError(f'--raw (={text}) must be WIDTHxHEIGHT, as in --raw=640x480')
  width, height = int(match[1]), int(match[2])
  fault = size_fault(width, height)
  if fault:
    raise UserError(f'--raw {fault}')
  return width, height


if __name__ == '__main__':
  run_command(main, usage=__doc__)
