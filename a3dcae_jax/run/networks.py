"""From the config's model subtree to the two networks, with sizes checked before anything is compiled."""

import jax.numpy as jnp

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.frame_rms import check_target_rms
from a3dcae_jax.evaluation.perspective import FOUND, speeds_of
from a3dcae_jax.models.autoencoder import AutoEncoder, size_multiples
from a3dcae_jax.models.blocks import REMAT
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.inputs import IMAGES, UNIFORM_ROWS
from a3dcae_jax.ops.conv_algorithm import target_platform
from a3dcae_jax.scoring.local import make_rule

DTYPES = {'float32': jnp.float32, 'bfloat16': jnp.bfloat16}


def make_networks(
  *,
  widths,
  discriminator_widths,
  discriminator_units,
  first_kernel,
  places,
  polyphase,
  conv_algorithm,
  dtype,
  output_gain=1.0,
  bn_scale_init=1.0,
  remat='none',
  axis_name=None,
):
  """(AutoEncoder, Discriminator). `dtype` 'auto' is bfloat16 on accelerators and float32 on CPUs; others as in `models`."""
  common = {
    'first_kernel': tuple(first_kernel),
    'polyphase': polyphase,
    'conv_algorithm': conv_algorithm,
    'dtype': compute_dtype(dtype),
    'remat': remat_of(remat),
  }
  return (
    AutoEncoder(
      tuple(widths),
      places=places,
      output_gain=output_gain,
      bn_scale_init=bn_scale_init,
      axis_name=axis_name,
      **common,
    ),
    Discriminator(tuple(discriminator_widths), discriminator_units, axis_name=axis_name, **common),
  )


def compute_dtype(name):
  """The dtype that `model.dtype` names; 'auto' depends on the platform that programs are traced for."""
  if name == 'auto':
    name = 'float32' if target_platform() == 'cpu' else 'bfloat16'
  if name not in DTYPES:
    raise UserError(f'model.dtype {name!r}: known are auto, {", ".join(DTYPES)}')
  return DTYPES[name]


def reduce_dtype(name, model_dtype):
  """Name of the dtype in which gradients travel between devices, of `train.reduce_dtype` and `model.dtype`: 'auto' is that of the computation."""
  if name not in ('auto', *DTYPES):
    raise UserError(f'train.reduce_dtype {name!r}: known are auto, {", ".join(DTYPES)}')
  return jnp.dtype(compute_dtype(model_dtype)).name if name == 'auto' else name


def remat_of(name):
  """`name`, if it is a way of rematerialisation that `model.remat` may name."""
  if name not in REMAT:
    raise UserError(f'model.remat {name!r}: known are {", ".join(REMAT)}')
  return name


def frame_options(config):
  """How frames become what the networks see: the keyword arguments of `training.frames.network_input`, as far as the run is not older than they are."""
  options = dict(config.get('frames', {}))
  return options | {'row_scale': speeds_of(options.get('row_scale', 'alike'))}


def sees_flow(config):
  """Whether a run's networks see optical flow rather than frames."""
  return config.get('frames', {}).get('images') == 'flow'


def _check_frames(config):
  options = dict(config.get('frames', {}))
  check_target_rms('frames.target_rms', options.get('target_rms', 0.0))
  images = options.get('images', 'frames')
  if images not in IMAGES:
    raise UserError(f'frames.images {images!r}: known are {", ".join(IMAGES)}')
  speeds = options.get('row_scale', 'alike')
  if (speeds == FOUND or speeds_of(speeds) != UNIFORM_ROWS) and not sees_flow(config):
    raise UserError(f'input.perspective {speeds!r}: only flow has speeds (frames.images=flow)')
  if sees_flow(config) and config.eval.error in ('motion', 'local'):
    raise UserError(
      f'frames.images flow: eval.error {config.eval.error!r} finds motion in frames; use eq13, block or smoothed'
    )


def check_sizes(config):
  """Raises `UserError` naming the first field whose value does not fit the pools of either network, or is out of range."""
  if len(config.model.widths) < 2:
    raise UserError(f'model.widths (={tuple(config.model.widths)}) needs at least two layers')
  frames, pixels = size_multiples(len(config.model.widths))
  judge = len(config.model.discriminator_widths)
  frames, pixels = max(frames, 2 ** (judge - 1)), max(pixels, 2**judge)
  for name, value, multiple in (
    ('clips.window', config.clips.window, frames),
    ('data.height', config.data.height, pixels),
    ('data.width', config.data.width, pixels),
  ):
    if value <= 0 or value % multiple:
      raise UserError(
        f'{name} (={value}) must be a multiple of {multiple}: the networks halve it {multiple.bit_length() - 1} times'
      )
  if config.model.polyphase and config.model.first_kernel[0] != 1:
    raise UserError(
      f'model.polyphase needs a first_kernel of one frame, got {tuple(config.model.first_kernel)}'
    )
  every, run = config.objective.mask_period, config.objective.mask_length
  if every and not 0 < run < every <= config.clips.window:
    raise UserError(
      f'objective.mask_length (={run}) must be positive and below objective.mask_period (={every}), '
      f'which the window (={config.clips.window}) must hold'
    )
  for name in ('output_gain', 'bn_scale_init'):
    if not config.model.get(name, 1.0) > 0:
      raise UserError(f'model.{name} (={config.model[name]}) must be positive')
  _check_frames(config)
  make_rule(**config.eval.local)
  reduce_dtype(config.train.reduce_dtype, config.model.dtype)
  for name in (
    'steps',
    'batch_size',
    'log_every_steps',
    'checkpoint_every_steps',
    'keep_checkpoints',
  ):
    if config.train[name] <= 0:
      raise UserError(f'train.{name} (={config.train[name]}) must be positive')
