"""Every setting of a run: default, meaning, unit and valid values.

The defaults are the paper as printed (Sun et al. 2021). Where the paper gives no value, the text
says so. `docs/reference/config.md` is generated from this file.
"""

import dataclasses
from typing import Any

from a3dcae_jax.config.presets import PRESETS

_PAPER = PRESETS['paper']


def setting(default: Any, text: str, **rule: Any) -> Any:
  """Declare a field.

  Args:
    default: its default, given nowhere else.
    text: one sentence on meaning and unit.
    **rule: `choices`, a tuple of values; or bounds: `at_least`, `above`, `at_most`, `below`; or
      `path=True` for a file or folder of this machine.
  """
  if isinstance(default, dict):
    return dataclasses.field(default_factory=dict, metadata={'text': text, **rule})
  return dataclasses.field(default=default, metadata={'text': text, **rule})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Data:
  """The data set and its frame cache."""

  name: str = setting('', 'Data set; a folder of a3dcae_jax/data/builders.')
  root: str = setting(
    '', 'Folder of the videos as shipped; each data set has a default.', path=True
  )
  cache: str = setting(
    '', 'Folder of a frame cache to use; empty: found or made in cache_dir.', path=True
  )
  cache_dir: str = setting('data/caches', 'Folder of all frame caches.', path=True)
  height: int = setting(
    _PAPER.size_px, 'Height of the resized frames, in pixels.', at_least=2, at_most=8192
  )
  width: int = setting(
    _PAPER.size_px, 'Width of the resized frames, in pixels.', at_least=2, at_most=8192
  )
  label_set: str = setting(
    '', "Annotation to score by; empty: the data set's first. Named in every result."
  )
  mean_image: str = setting(
    'set',
    'Mean image subtracted from frames: of the whole set (the paper), of each scene (camera), or '
    'of each video, which sees the future of the video.',
    choices=('set', 'scene', 'video'),
  )
  options: dict = setting({}, 'Options of this data set alone; see its README.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clips:
  """Training clips."""

  window: int = setting(16, 'Frames per clip (T).', at_least=2, at_most=4096)
  strides: tuple = setting(
    (1, 2, 3),
    'Temporal strides of training clips (Hasan et al. 2016). Below 1 the video is slowed down; '
    '0 is one still frame.',
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Objects:
  """Objects that are scored instead of whole frames (Table VIII)."""

  detector: str = setting(
    '',
    'Detector of objects: foreground, which needs no weights; the name of a published network; an '
    '.onnx file with the output of YOLOX, which JAX runs if its layers are those of YOLOX and '
    'onnxruntime otherwise; a .csv file with boxes. Empty: frames are scored whole.',
    path=True,
  )
  min_score: float = setting(
    0.25,
    'Least score of the detector; boxes below it are left out.',
    at_least=0,
    at_most=1,
  )
  classes: tuple = setting((), 'Numbers of the classes that count; empty: all.')
  min_size_px: int = setting(
    4,
    'Least side of a box, in pixels of the frame cache; smaller boxes are left out.',
    at_least=1,
  )
  max_per_frame: int = setting(
    32, 'Most boxes of one frame; those of highest score stay.', at_least=1
  )
  crop_px: int = setting(
    32, 'Height and width of the resized objects, in pixels.', at_least=2, at_most=8192
  )
  mirrored: bool = setting(True, 'Mirroring of half of the training clips, drawn at random.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Input:
  """How frames become the input of the networks."""

  kind: str = setting(
    'frames',
    'Input that is reconstructed: frames, the magnitude of their optical flow (Table IX), or, of '
    'objects alone, frames and their differences in time, each by its own network.',
    choices=('frames', 'flow', 'frames_and_differences'),
  )
  target_rms: float = setting(
    0.0,
    'Root mean square towards which each frame is normalised, for pixels in [0, 1]; 0: none.',
    at_least=0,
    at_most=1,
  )
  perspective: str = setting(
    'none',
    'Perspective normalisation: auto divides flow by the reference speed of its row, which is '
    'fitted to the training videos.',
    choices=('none', 'auto'),
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
  """The auto-encoder and the discriminator."""

  kind: str = setting(
    'a3dcae',
    'Auto-encoder: of the paper (a3dcae); the same with 2D convolutions and pools, the frames '
    'stacked as channels (a2dcae; Table V); of Hasan et al. 2016 (conv_ae), Chong and Tay 2017 '
    '(convlstm_ae), or Gong et al. 2019 without memory (plain_3d).',
    choices=('a3dcae', 'a2dcae', 'conv_ae', 'convlstm_ae', 'plain_3d'),
  )
  widths: tuple = setting(
    _PAPER.widths,
    'Channels of Conv1, Conv2, ...; 5 give the 10-layer network, 3 the 6-layer one. The other '
    'kinds have 3 or 4 (conv_ae: 512, 256, 128; convlstm_ae: 128, 64, 32; plain_3d: 96, 128, 256, '
    '256).',
  )
  discriminator_widths: tuple = setting(
    _PAPER.discriminator_widths, "Channels of the discriminator's convolutions."
  )
  discriminator_units: int = setting(
    _PAPER.discriminator_units, "Units of the discriminator's FC 4.", at_least=1, at_most=2**16
  )
  unpooling: str = setting(
    'recorded',
    'Pixels that un-pooling fills: those of the recorded pool indices, or always the upper left '
    'one (fixed; Table V).',
    choices=('recorded', 'fixed'),
  )
  pool_time: bool = setting(
    True, 'Pools over two frames each after the first; false: within frames alone (Table V).'
  )
  bn_scale_init: float = setting(
    1.0, 'Initial scale of batch normalisation; below 1 tanh does not start saturated.', above=0
  )
  output_gain: float = setting(
    1.0, 'Factor on the reconstruction; sets its size before the first update.', above=0
  )
  dtype: str = setting(
    'auto',
    'Data type of the computation; auto: bfloat16 on accelerators, float32 on CPUs.',
    choices=('auto', 'float32', 'bfloat16'),
  )
  remat: str = setting(
    'none',
    "Values kept for the gradient: all (none), or each block's input alone (blocks), which takes "
    'less memory and more time.',
    choices=('none', 'blocks'),
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
  """The objective (Eq. 9), and the noise and masks in training."""

  adversarial_weight: float = setting(
    1e-5,
    'lambda of Eq. 9; the paper gives no value. 0 trains without the discriminator.',
    at_least=0,
  )
  noise: str = setting(
    'gaussian',
    'Noise on the input in training (Table VI): none, gaussian, salt_and_pepper (5 % of the '
    'pixels become white or black), poisson (of the grey level of each pixel).',
    choices=('none', 'gaussian', 'salt_and_pepper', 'poisson'),
  )
  noise_std: float = setting(
    0.005,
    'Standard deviation of Gaussian noise, for pixels in [0, 1].',
    at_least=0,
    at_most=1,
  )
  mask_period: int = setting(
    0,
    'Frames per period of the masks, at most clips.window. A run of frames in each period is '
    'masked, and only these count in the loss; 0: no masks.',
    at_least=0,
  )
  mask_length: int = setting(
    1,
    'Masked frames per period, fewer than mask_period. In scoring, every frame is masked in turn.',
    at_least=1,
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
  """RMSprop as PyTorch computes it, for both networks."""

  learning_rate: float = setting(2e-4, 'Learning rate of the first update.', above=0)
  schedule: str = setting(
    'constant',
    'Schedule of the learning rate; cosine lowers it to 2 % over train.steps.',
    choices=('constant', 'cosine'),
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Train:
  """The training loop."""

  steps: int = setting(20_000, 'Updates; the paper gives no number.', at_least=1)
  batch_size: int = setting(
    16, 'Clips per update over all devices; the paper gives no number.', at_least=1, at_most=2**16
  )
  holdout_videos: int = setting(
    0,
    'How many training videos, counted from the last, only calibrate; 0: all train and calibrate.',
    at_least=0,
  )
  input_pipeline: str = setting(
    'auto',
    'Source of the clips: frames on the device (device_cached) or tf.data (streaming); auto: the '
    'first if the frames fit.',
    choices=('auto', 'device_cached', 'streaming'),
  )
  log_every_steps: int = setting(10, 'Updates between two readings of the metrics.', at_least=1)
  checkpoint_every_steps: int = setting(500, 'Updates between two checkpoints.', at_least=1)
  keep_checkpoints: int = setting(3, 'How many of the newest checkpoints are kept.', at_least=1)
  time_limit_s: float = setting(
    0.0, 'Seconds after which training stops with a checkpoint; 0: no limit.', at_least=0
  )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Eval:
  """How test videos are scored."""

  batch_size: int = setting(16, 'Windows per batch and device.', at_least=1, at_most=2**16)
  normalisation: str = setting(
    'eq14',
    'Normalisation that heads the report; all are computed. eq14 is the one of the paper.',
    choices=('eq14', 'minmax', 'psnr', 'raw', 'zscore'),
  )
  window_step: int = setting(
    0,
    'Frames between the starts of test windows; the errors of overlapping windows are averaged. '
    '0: back to back, each frame scored once. For objects: frames from one that is scored to the '
    'next; errors between them are interpolated.',
    at_least=0,
  )
  stride: int = setting(
    1,
    'Temporal stride of test windows; a video that is too short takes the largest that fits.',
    at_least=1,
  )
  calibration_windows: int = setting(
    512, 'Training windows whose errors calibrate scores and thresholds.', at_least=1
  )
  error: str = setting(
    'eq13',
    'Error of a frame: eq13, the mean over pixels (Eq. 13); local, its most unusual region.',
    choices=('eq13', 'local'),
  )
  network_weight: float = setting(
    0.25,
    'Weight of the reconstruction error in error=local; speed has 1 minus this weight.',
    at_least=0,
    at_most=1,
  )
  object_weights: tuple = setting(
    (1.0, 0.0, 0.0),
    'Weights of appearance error, motion error and speed in the error of an object.',
  )
  per_position: bool = setting(
    False, 'Division of errors by the mean training error at their position in the window.'
  )
  smoothing_frames: float = setting(
    0.0,
    'Standard deviation of a Gaussian over scores, in frames; 0: none.',
    at_least=0,
    at_most=1000,
  )
  smoothing_mode: str = setting(
    'centred',
    'Frames that smoothing uses: earlier and later ones (centred), or no later ones (causal).',
    choices=('centred', 'causal'),
  )

  @property
  def object_step(self) -> int:
    """Frames from one whose objects are scored to the next."""
    return max(self.window_step, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Events:
  """How scores become events, with thresholds from training scores alone."""

  threshold_rule: str = setting(
    'quantile',
    'Rule of the threshold: a quantile of the training scores; rate: by their false alarms per '
    'hour; fixed: given as a z-score.',
    choices=('quantile', 'rate', 'fixed'),
  )
  threshold_value: float = setting(
    0.999, 'Quantile, above 0 and below 1; rate per hour, from 0 on; or z-score, any number.'
  )
  frames_per_s: float = setting(25.0, 'Frame rate of the videos; for rates and delays.', above=0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
  """All settings of a run."""

  seed: int = setting(0, 'Seed of parameters, batches and noise.', at_least=0, at_most=2**32 - 1)
  variant: str = setting('paper', 'Names of the variants that made this config; a label only.')
  data: Data = dataclasses.field(default_factory=Data)
  clips: Clips = dataclasses.field(default_factory=Clips)
  objects: Objects = dataclasses.field(default_factory=Objects)
  input: Input = dataclasses.field(default_factory=Input)
  model: Model = dataclasses.field(default_factory=Model)
  loss: Loss = dataclasses.field(default_factory=Loss)
  optimizer: Optimizer = dataclasses.field(default_factory=Optimizer)
  train: Train = dataclasses.field(default_factory=Train)
  eval: Eval = dataclasses.field(default_factory=Eval)
  events: Events = dataclasses.field(default_factory=Events)


def subtrees(config: Config) -> dict[str, Any]:
  """Return the parts of a config that are dataclasses themselves, by name."""
  parts = {}
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    if dataclasses.is_dataclass(value):
      parts[field.name] = value
  return parts
