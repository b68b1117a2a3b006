"""The measured programs of whole frames: scoring, and the adversarial step."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.config.check import size_multiples
from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.config.variants import TUNED_RMS
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.dtypes import DTYPES, compute_dtype, gradient_dtype
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.models.networks import make_networks
from a3dcae_jax.ops.conv_algorithm import CONV_ALGORITHMS
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.training.state import TrainState, init_state, make_optimizer
from a3dcae_jax.training.step import make_train_step

MODES = ('infer', 'train')
OBJECT_MODES = ('object_infer', 'object_train')
DETECT_MODE = 'object_detect'
"""The one program from frames to errors, compiled for absent chips only.

Its time depends on how many objects a detector finds.
"""

OBJECT_PRESET = 'best'
"""The variant whose networks the modes of objects have."""


class Setting(NamedTuple):
  """One measured program.

  Attributes:
    mode: 'infer', from clips to frame errors, or 'train', the full training step, which is
      adversarial for the paper's networks; or one of `OBJECT_MODES` or `DETECT_MODE`, see
      `measuring.object_programs`.
    preset: sizes of the networks, a name in `config.presets`; `OBJECT_PRESET` for objects.
    batch: clips per device; objects have one each, as have the frames of `DETECT_MODE`.
    dtype: data type of the computation; 'auto' is bfloat16 on accelerators, float32 on CPUs.
    window: frames per clip, T.
    size_px: height and width of a frame; 0 takes the preset's.
    conv_algorithm: see `ops.conv_algorithm`.
    polyphase: whether the first and last layer are computed as in `ops.polyphase`.
    remat: 'none' or 'blocks', as `model.remat`.
    target_rms: as `input.target_rms`. The default is that of the variant `tuned`.
  """

  mode: str
  preset: str
  batch: int
  dtype: str = 'auto'
  window: int = 16
  size_px: int = 0
  conv_algorithm: str = 'auto'
  polyphase: bool = True
  remat: str = 'none'
  target_rms: float = TUNED_RMS

  @property
  def size(self) -> int:
    """Height and width of a frame in pixels."""
    return self.size_px or PRESETS[self.preset].size_px

  @property
  def clip_shape(self) -> tuple[int, int, int]:
    """Shape of a clip, (T, H, W)."""
    return (self.window, self.size, self.size)

  @property
  def trains(self) -> bool:
    """Whether the program is an update, which returns the next state."""
    return self.mode.endswith('train')

  @property
  def of_objects(self) -> bool:
    """Whether the clips are objects, cut out of frames by the program."""
    return self.mode in (*OBJECT_MODES, DETECT_MODE)


def check_setting(setting: Setting) -> Setting:
  """Check all values of a setting, and return it unchanged.

  Raises:
    UserError: for the first impossible value. The message names the flag that sets it.
  """
  choices = {
    'modes': (setting.mode, (*MODES, *OBJECT_MODES, DETECT_MODE)),
    'preset': (setting.preset, (OBJECT_PRESET,) if setting.of_objects else tuple(PRESETS)),
    'dtype': (setting.dtype, ('auto', *DTYPES)),
    'conv_algorithm': (setting.conv_algorithm, ('auto', *CONV_ALGORITHMS)),
  }
  for flag, (value, known) in choices.items():
    if value not in known:
      raise UserError(f'--{flag} {value!r}: known are {", ".join(known)}')
  if setting.batch <= 0:
    raise UserError(f'--batch (={setting.batch}) must be positive')
  if setting.of_objects:
    return setting
  _, pixels = size_multiples(model_of(setting), _is_adversarial(setting))
  if setting.size <= 0 or setting.size % pixels:
    raise UserError(
      f'--size (={setting.size}) must be a positive multiple of {pixels} for the preset '
      f'{setting.preset}'
    )
  if not 0 <= setting.target_rms <= 1:
    raise UserError(f'--target_rms (={setting.target_rms}) must be between 0 and 1')
  return setting


def _is_adversarial(setting: Setting) -> bool:
  """Return whether the training step has a discriminator."""
  return PRESETS[setting.preset].kind == 'a3dcae'


def model_of(setting: Setting) -> fields.Model:
  """Return the settings of the networks."""
  preset = PRESETS[setting.preset]
  return fields.Model(
    kind=preset.kind,
    widths=preset.widths,
    discriminator_widths=preset.discriminator_widths,
    discriminator_units=preset.discriminator_units,
    dtype=setting.dtype,
    remat=setting.remat,
  )


def batch_sizes(texts: Sequence[str]) -> list[int]:
  """Read the values of `--batch`.

  Raises:
    UserError: for the first text that is not a positive whole number.
  """
  for text in texts:
    if not text.isdecimal() or not int(text):
      raise UserError(f'--batch (={text}) must be a positive whole number')
  return [int(text) for text in texts]


def settings_of(
  presets: Sequence[str], modes: Sequence[str], batches: Sequence[str], **shared: Any
) -> list[Setting]:
  """Return the checked settings of every preset, mode and batch.

  Args:
    presets: names of presets.
    modes: names of `MODES` and `OBJECT_MODES`, `DETECT_MODE`. Those of objects have sizes of their
      own.
    batches: texts of `--batch`.
    **shared: the other values, which are those of all settings.

  Raises:
    UserError: for the first value that is not possible. The message names the flag that sets it.
  """
  settings = []
  for preset in presets:
    for mode in modes:
      for batch in batch_sizes(batches):
        setting = Setting(mode, preset, batch, **shared)
        if setting.of_objects:
          setting = of_objects(setting)
        elif preset in PRESETS:
          setting = setting._replace(window=PRESETS[preset].window)
        if setting not in settings:
          settings.append(check_setting(setting))
  return settings


def of_objects(setting: Setting) -> Setting:
  """Return a setting with the sizes of objects in the variant `OBJECT_PRESET`."""
  return setting._replace(preset=OBJECT_PRESET, window=8, size_px=32, target_rms=0.0)


def resolved(setting: Setting) -> Setting:
  """Replace the dtype 'auto' by its value on the platform that is traced for."""
  return setting._replace(dtype=jnp.dtype(compute_dtype(setting.dtype)).name)


def report_fields(setting: Setting) -> dict[str, Any]:
  """Return the fields that name a program in a saved report.

  These are the fields of the setting and `gradient_dtype`, the data type in which gradients travel
  between devices.
  """
  setting = resolved(setting)
  return {**setting._asdict(), 'gradient_dtype': gradient_dtype(setting.dtype)}


def networks_of(setting: Setting, axis_name: str | None = None) -> tuple[nn.Module, Discriminator]:
  """Build the networks of a setting.

  Args:
    setting: the preset, data type and algorithms.
    axis_name: the mapped axis of data-parallel replicas; None for a single replica.
  """
  return make_networks(
    model_of(setting),
    axis_name=axis_name,
    conv_algorithm=setting.conv_algorithm,
    polyphase=setting.polyphase,
  )


def fresh_state(setting: Setting) -> TrainState:
  """Make the training state before the first update."""
  generator, discriminator = networks_of(setting)
  if not _is_adversarial(setting):
    discriminator = None
  return init_state(generator, discriminator, _optimizer(), clip_shape=setting.clip_shape, seed=0)


def error_program(setting: Setting) -> Callable[..., jax.Array]:
  """Make the scoring program.

  Returns:
    A function of (variables, clips uint8 [B, T, H, W], mean_image [H, W]) that returns the frame
    errors of Eq. 13, float32 [B, T].
  """
  generator, _ = networks_of(setting)

  def errors(variables: dict, clips: jax.Array, mean_image: jax.Array) -> jax.Array:
    real = network_input(clips, mean_image, target_rms=setting.target_rms)
    reconstruction = generator.apply(variables, real, train=False)
    return frame_errors(error_maps(real, reconstruction))

  return errors


def train_program(setting: Setting, axis_name: str | None = None) -> Callable[..., Any]:
  """Make the update of both networks, with the default loss and optimizer.

  Args:
    setting: the program.
    axis_name: the mapped axis of data-parallel replicas; None for a single replica.

  Returns:
    A function of (state, clips uint8 [B, T, H, W], mean_image [H, W]) that returns
    (state, metrics).
  """
  generator, discriminator = networks_of(setting, axis_name)
  return make_train_step(
    generator,
    discriminator,
    _optimizer(),
    fields.Loss() if _is_adversarial(setting) else fields.Loss(adversarial_weight=0.0),
    seed=0,
    prepare=functools.partial(network_input, target_rms=setting.target_rms),
    axis_name=axis_name,
    gradient_dtype=gradient_dtype(setting.dtype),
  )


def variables_of(state: TrainState) -> dict[str, Any]:
  """Return the part of a training state that `error_program` reads."""
  return {'params': state.generator, 'batch_stats': state.batch_stats}


def input_shapes(setting: Setting) -> tuple[jax.ShapeDtypeStruct, jax.ShapeDtypeStruct]:
  """Return the shapes of the clips and the mean image."""
  clips = jax.ShapeDtypeStruct((setting.batch, *setting.clip_shape), jnp.uint8)
  mean_image = jax.ShapeDtypeStruct(setting.clip_shape[1:], jnp.float32)
  return clips, mean_image


def _optimizer():
  """Return the default optimizer.

  Its learning rate is constant, so `steps` has no effect.
  """
  return make_optimizer(fields.Optimizer(), steps=1)
