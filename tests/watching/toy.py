"""A bundle with a program of a few lines, videos, and servers of video on loopback."""

import contextlib
import http.server
import io
import socketserver
import threading
import time

import av
import jax.numpy as jnp
import numpy as np
from PIL import Image

from a3dcae_jax.serving.artefact import export_program
from a3dcae_jax.serving.bundle import write_bundle

WINDOW = 4
SHAPE = (32, 48)
FRAMES_PER_S = 25
CALIBRATION = {
  'per_position': False,
  'position_mean': [1.0] * WINDOW,
  'mean': 0.0,
  'std': 0.01,
  'step_frames': 0,
  'smoothing_frames': 0.0,
  'smoothing_mode': 'causal',
  'threshold': 5.0,
}


def scene():
  """Return the scene of the toy camera, uint8 [64, 96]: detail everywhere."""
  rng = np.random.default_rng(5)
  coarse = rng.integers(60, 190, (8, 12)).astype(np.uint8)
  return np.asarray(Image.fromarray(coarse).resize((96, 64), Image.Resampling.BICUBIC))


def mean_image():
  image = Image.fromarray(scene()).resize(SHAPE[::-1], Image.Resampling.BILINEAR)
  return np.asarray(image, np.float32) / 255


def program(weights, mean_image, clips):
  """The error is the squared distance to the mean image."""
  maps = jnp.square(clips.astype(jnp.float32) / 255 - mean_image) * weights['scale']
  return maps.mean((2, 3)), maps


def write_toy_bundle(folder):
  """Write a bundle whose threshold is reached when something bright covers a fifth of the frame."""
  weights = {'scale': np.float32([1.0])}
  mean = mean_image()
  write_bundle(
    folder,
    models={'uint8': export_program(program, program, weights, mean, window=WINDOW, dtype='uint8')},
    weights=weights,
    mean_image=mean,
    window=WINDOW,
    stride=1,
    details={
      'calibration': CALIBRATION,
      'stream': {'threshold': 1.5},
      'events': {'frames_per_s': float(FRAMES_PER_S)},
    },
  )
  return folder


def camera(count, bright=(), seed=0):
  """Yield frames of the toy camera, uint8 [64, 96], with noise.

  Args:
    count: number of frames.
    bright: frames in which something bright stands at the lower left.
    seed: of the noise.
  """
  rng = np.random.default_rng(seed)
  base = scene().astype(int)
  for index in range(count):
    frame = base + rng.integers(-3, 4, base.shape)
    if index in bright:
      frame[32:, :36] = 250
    yield np.clip(frame, 0, 255).astype(np.uint8)


def write_video(path, frames, codec='mpeg4'):
  """Write a video and return its path."""
  with av.open(str(path), 'w') as container:
    stream = None
    for frame in frames:
      if stream is None:
        stream = container.add_stream(codec, rate=FRAMES_PER_S)
        stream.height, stream.width = frame.shape
        stream.pix_fmt = 'yuv420p'
        stream.bit_rate = 2_000_000
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='gray')))
    container.mux(stream.encode())
  return path


def jpeg(frame):
  content = io.BytesIO()
  Image.fromarray(frame).save(content, 'JPEG', quality=95)
  return content.getvalue()


class HttpCamera:
  """An HTTP server of MJPEG on loopback.

  Attributes:
    frames: the pictures that are sent, again and again; may be replaced at any time.
    pause_s: seconds between two of them.
    is_stalled: whether nothing is sent.
  """

  def __init__(self, frames, pause_s=0.01, port=0):
    self.frames = [jpeg(frame) for frame in frames]
    self.pause_s = pause_s
    self.is_stalled = False
    self._stopped = threading.Event()
    owner = self

    class Handler(http.server.BaseHTTPRequestHandler):
      def do_GET(self):
        self.send_response(200)
        self.send_header('Content-Type', 'multipart/x-mixed-replace;boundary=frame')
        self.end_headers()
        with contextlib.suppress(OSError):
          owner.send_frames(self.wfile)

      def log_message(self, *_):
        pass

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
      allow_reuse_address = True
      daemon_threads = True

    self._server = Server(('127.0.0.1', port), Handler)
    self.port = self._server.server_address[1]
    threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

  def send_frames(self, file):
    index = 0
    while not self._stopped.is_set():
      if not self.is_stalled:
        picture = self.frames[index % len(self.frames)]
        head = f'--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n'
        file.write(head.encode() + picture + b'\r\n')
        index += 1
      time.sleep(self.pause_s)

  @property
  def address(self):
    return f'http://127.0.0.1:{self.port}/live'

  def stop(self):
    self._stopped.set()
    self._server.shutdown()
    self._server.server_close()


class RtspCamera:
  """An RTSP server on loopback that sends MPEG-TS in RTP within the connection."""

  def __init__(self, frames):
    self._packets = _transport_stream(frames)
    self._stopped = threading.Event()
    owner = self

    class Handler(socketserver.StreamRequestHandler):
      def handle(self):
        with contextlib.suppress(OSError, ValueError):
          owner.answer(self.rfile, self.wfile)

    class Server(socketserver.ThreadingTCPServer):
      allow_reuse_address = True
      daemon_threads = True

    self._server = Server(('127.0.0.1', 0), Handler)
    self.port = self._server.server_address[1]
    self.requests = []
    threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

  @property
  def address(self):
    return f'rtsp://viewer:hidden@127.0.0.1:{self.port}/live?key=hidden'

  def answer(self, reader, writer):
    while True:
      lines = []
      while line := reader.readline().strip().decode():
        lines.append(line)
      if not lines:
        return
      method = lines[0].split()[0]
      self.requests.append(method)
      number = next(line.split(':')[1].strip() for line in lines if line.startswith('CSeq'))
      head, body = f'RTSP/1.0 200 OK\r\nCSeq: {number}\r\n', ''
      if method == 'OPTIONS':
        head += 'Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN\r\n'
      elif method == 'DESCRIBE':
        body = (
          'v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=toy\r\nt=0 0\r\n'
          'm=video 0 RTP/AVP 33\r\na=control:track0\r\n'
        )
        head += f'Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n'
      elif method == 'SETUP':
        head += 'Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n'
      else:
        head += 'Session: 1\r\n'
      writer.write((head + '\r\n' + body).encode())
      if method == 'PLAY':
        self._play(writer)
        return

  def _play(self, writer):
    for number, packet in enumerate(self._packets):
      if self._stopped.is_set():
        return
      stamp = number * 90
      rtp = b'\x80\x21' + (number & 0xFFFF).to_bytes(2, 'big') + stamp.to_bytes(4, 'big') + b'toyC'
      writer.write(b'$\x00' + (len(rtp) + len(packet)).to_bytes(2, 'big') + rtp + packet)
      time.sleep(0.0005)

  def stop(self):
    self._stopped.set()
    self._server.shutdown()
    self._server.server_close()


def _transport_stream(frames):
  """Return a video as MPEG-TS in pieces of seven packets."""
  content = io.BytesIO()
  with av.open(content, 'w', format='mpegts') as container:
    stream = container.add_stream('mpeg2video', rate=FRAMES_PER_S)
    stream.height, stream.width, stream.pix_fmt = 64, 96, 'yuv420p'
    stream.bit_rate = 2_000_000
    for frame in frames:
      container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format='gray')))
    container.mux(stream.encode())
  stream = content.getvalue()
  return [stream[start : start + 1316] for start in range(0, len(stream), 1316)]
