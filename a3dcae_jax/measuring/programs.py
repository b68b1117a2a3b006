"""The two programs that are timed and compiled ahead: clips in, frame errors out; and the full adversarial step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.frame_rms import TUNED_RMS, check_target_rms
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.ops.conv_algorithm import CONV_ALGORITHMS
from a3dcae_jax.run.networks import compute_dtype, reduce_dtype, remat_of
from a3dcae_jax.scoring.errors import error_maps, frame_errors
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import Objective, make_train_step

MODES = ('infer', 'train')


class Setting(NamedTuple):
  """What is computed. batch: clips a device. size_px 0 takes the preset's. reduce_dtype: in which gradients are sent between devices.

  target_rms: what frames are normalised to (`training.frames.network_input`), 0 not at all; by default as the data sets' :paper and :small do.
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
  reduce_dtype: str = 'auto'
  target_rms: float = TUNED_RMS

  @property
  def size(self):
    return self.size_px or PRESETS[self.preset].size_px

  @property
  def clip_shape(self):
    return (self.window, self.size, self.size)


def check_setting(setting):
  """`setting`, if it is one; a `UserError` that names the field at fault otherwise."""
  for field, value, known in (
    ('modes', setting.mode, MODES),
    ('preset', setting.preset, tuple(PRESETS)),
    ('conv_algorithm', setting.conv_algorithm, ('auto', *CONV_ALGORITHMS)),
  ):
    if value not in known:
      raise UserError(f'--{field} {value!r}: known are {", ".join(known)}')
  if setting.batch <= 0:
    raise UserError(f'--batch (={setting.batch}) must be positive')
  check_target_rms('--target_rms', setting.target_rms)
  return setting


def resolved(setting):
  """`setting` with 'auto' replaced by the dtypes it stands for on the platform that programs are traced for."""
  return setting._replace(
    dtype=jnp.dtype(compute_dtype(setting.dtype)).name,
    reduce_dtype=reduce_dtype(setting.reduce_dtype, setting.dtype),
  )


def networks(setting, axis_name=None):
  """(AutoEncoder, Discriminator) of a setting."""
  preset = PRESETS[setting.preset]
  common = {
    'conv_algorithm': setting.conv_algorithm,
    'polyphase': setting.polyphase,
    'dtype': compute_dtype(setting.dtype),
    'remat': remat_of(setting.remat),
  }
  return (
    AutoEncoder(preset.widths, axis_name=axis_name, **common),
    Discriminator(
      preset.discriminator_widths, preset.discriminator_units, axis_name=axis_name, **common
    ),
  )


def fresh_state(setting):
  """A `TrainState` before its first update."""
  return init_state(*networks(setting), make_optimizer(), clip_shape=setting.clip_shape, seed=0)


def error_program(setting):
  """`(variables, clips uint8 [B, T, H, W], mean_image [H, W]) -> errors [B, T]` (Eq. 13)."""
  generator, _ = networks(setting)

  def errors(variables, clips, mean_image):
    real = network_input(clips, mean_image, target_rms=setting.target_rms)
    return frame_errors(error_maps(real, generator.apply(variables, real, train=False)))

  return errors


def train_program(setting, axis_name=None):
  """The update `(state, clips, mean_image) -> (state, metrics)` at the default objective."""
  return make_train_step(
    *networks(setting, axis_name),
    make_optimizer(),
    Objective(),
    seed=0,
    axis_name=axis_name,
    reduce_dtype=reduce_dtype(setting.reduce_dtype, setting.dtype),
    target_rms=setting.target_rms,
  )


def variables_of(state):
  """What `error_program` reads of a `TrainState`."""
  return {'params': state.generator, 'batch_stats': state.batch_stats}


def input_shapes(setting, num_devices=None):
  """(clips, mean image) as shapes; with `num_devices` the clips have a leading device axis."""
  leading = () if num_devices is None else (num_devices,)
  return (
    jax.ShapeDtypeStruct((*leading, setting.batch, *setting.clip_shape), jnp.uint8),
    jax.ShapeDtypeStruct(setting.clip_shape[1:], jnp.float32),
  )
