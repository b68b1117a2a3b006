"""Variants by name: named changes to the defaults, applied from left to right."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import config_dict

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import fields
from a3dcae_jax.config.presets import PRESETS

TUNED_RMS = 0.02  # target root mean square of frames in `tuned`


class Variant(NamedTuple):
  """A named change.

  Attributes:
    text: one line for `--help`.
    values: field -> value, or a function from the config to the value.
    includes: names of variants that are applied first.
  """

  text: str
  values: Mapping[str, Any]
  includes: tuple[str, ...] = ()


def _size(name: str) -> dict[str, Any]:
  """Return the sizes of a preset as values of a variant."""
  preset = PRESETS[name]
  return {
    'model.widths': preset.widths,
    'model.discriminator_widths': preset.discriminator_widths,
    'model.discriminator_units': preset.discriminator_units,
    'data.height': preset.size_px,
    'data.width': preset.size_px,
  }


def _compared(kind: str) -> dict[str, Any]:
  """Return the values of a network that the paper compares itself with.

  Its widths are the published ones, times the share that Conv1 has of its width in the paper: a
  quarter after `small`, a sixteenth after `tiny`.

  Args:
    kind: `model.kind`.
  """

  def scaled(config: config_dict.ConfigDict) -> tuple[int, ...]:
    share = config.model.widths[0] / PRESETS['paper'].widths[0]
    return tuple(max(1, round(share * width)) for width in PRESETS[kind].widths)

  return {
    'model.kind': kind,
    'model.widths': scaled,
    'clips.window': PRESETS[kind].window,
    'loss.adversarial_weight': 0.0,
  }


_TINY = {
  'train.steps': 4,
  'train.batch_size': 4,
  'train.log_every_steps': 2,
  'train.checkpoint_every_steps': 2,
  'eval.calibration_windows': 8,
}

VARIANTS: dict[str, Variant] = {
  'paper': Variant('the paper as printed: 10 layers, 224x224; the default', {}),
  'tuned': Variant(
    'our recipe that works: normalised frames, calibrated errors, smoothing',
    {
      'clips.strides': (0, 0.5, 1),
      'input.target_rms': TUNED_RMS,
      'model.bn_scale_init': 0.2,
      'model.output_gain': 0.2,
      'loss.adversarial_weight': 1e-6,
      'optimizer.learning_rate': 8e-4,
      'optimizer.schedule': 'cosine',
      'train.steps': 1500,
      'eval.window_step': 4,
      'eval.stride': 3,
      'eval.per_position': True,
      'eval.smoothing_frames': 5.0,
    },
  ),
  'six_layers': Variant(
    'without Conv4, Conv5, De-Conv1 and De-Conv2 (Table VII)',
    {'model.widths': lambda config: config.model.widths[:3]},
  ),
  'without_gan': Variant(
    'without the adversarial loss (Table V)', {'loss.adversarial_weight': 0.0}
  ),
  'without_recorded_locations': Variant(
    'un-pooling at the upper left pixel (Table V)', {'model.unpooling': 'fixed'}
  ),
  'without_3d_conv': Variant(
    '2D convolutions and pools, frames stacked as channels (Table V)', {'model.kind': 'a2dcae'}
  ),
  'without_3d_pool': Variant('pools of 1x2x2 everywhere (Table V)', {'model.pool_time': False}),
  'noise_none': Variant('without noise in training (Table VI)', {'loss.noise': 'none'}),
  'noise_salt_and_pepper': Variant(
    'salt-and-pepper noise on 5 % of the pixels in training (Table VI)',
    {'loss.noise': 'salt_and_pepper'},
  ),
  'noise_poisson': Variant('Poisson noise in training (Table VI)', {'loss.noise': 'poisson'}),
  'conv_ae': Variant(
    'Hasan et al. 2016, 10 frames, without the adversarial loss; after small a quarter as wide',
    _compared('conv_ae'),
  ),
  'convlstm_ae': Variant(
    'Chong and Tay 2017, 10 frames, without the adversarial loss; after small a quarter as wide',
    _compared('convlstm_ae'),
  ),
  'plain_3d': Variant(
    'MemAE (Gong et al. 2019) without memory or adversarial loss; after small a quarter as wide',
    _compared('plain_3d'),
  ),
  'small': Variant(
    'tuned, 6 layers at 112x112, for CPUs',
    {
      **_size('small6'),
      'optimizer.learning_rate': 3e-3,
      'train.batch_size': 2,
      'train.checkpoint_every_steps': 250,
    },
    includes=('tuned',),
  ),
  'paper_small': Variant(
    'the paper as printed at 112x112, a quarter as wide, 1,500 updates of 2 clips, for CPUs',
    {
      **_size('small'),
      'train.steps': 1500,
      'train.batch_size': 2,
      'train.checkpoint_every_steps': 250,
    },
  ),
  # Flow measures how fast things move, which normalised frames and larger strides would hide.
  'flow': Variant(
    'small on optical flow instead of frames; evaluate --sum adds it to a run of small (Table IX)',
    {
      'clips.strides': (1,),
      'input.kind': 'flow',
      'input.perspective': 'auto',
      'input.target_rms': 0.0,
      'model.bn_scale_init': 1.0,
      'model.output_gain': 0.04,
      'train.steps': 600,
      'train.checkpoint_every_steps': 200,
      'eval.stride': 1,
    },
    includes=('small',),
  ),
  'local': Variant(
    'beyond the paper: masked frames, the most unusual region of a frame; 112x112, for CPUs',
    {
      **_size('small'),
      'loss.adversarial_weight': 0.0,
      'loss.mask_period': 8,
      'loss.mask_length': 3,
      'optimizer.learning_rate': 1e-3,
      'train.steps': 300,
      'train.batch_size': 4,
      'train.checkpoint_every_steps': 100,
      'eval.error': 'local',
      'eval.smoothing_frames': 5.0,
    },
  ),
  # The pools halve a clip once, so the paper's seven frames become eight.
  'objects': Variant(
    'objects instead of frames (Table VIII): 6 layers, clips of 8 frames at 32x32',
    {
      'model.widths': lambda config: config.model.widths[:3],
      'data.height': 240,
      'data.width': 352,
      'clips.window': 8,
      'clips.strides': (1,),
      'objects.detector': 'foreground',
    },
  ),
  'best': Variant(
    'beyond the paper: appearance, motion and speed of each object; for CPUs',
    {
      'model.widths': (16, 32, 64),
      'model.discriminator_widths': (16, 32, 64),
      'model.discriminator_units': 64,
      'model.unpooling': 'fixed',
      'input.kind': 'frames_and_differences',
      'loss.adversarial_weight': 0.0,
      'optimizer.learning_rate': 1e-3,
      'optimizer.schedule': 'cosine',
      'train.steps': 400,
      'train.batch_size': 48,
      'train.checkpoint_every_steps': 100,
      'eval.calibration_windows': 512,
      'eval.object_weights': (0.25, 0.25, 1.0),
      'eval.window_step': 4,
      'eval.smoothing_frames': 8.0,
      'events.threshold_value': 0.9,
    },
    includes=('objects',),
  ),
  'quick': Variant(
    'a 10-layer network at 64x64 that trains in minutes; the default of configs/synthetic.py',
    {
      'model.widths': (8, 16, 32, 32, 32),
      'model.discriminator_widths': (8, 16, 32),
      'model.discriminator_units': 32,
      'data.height': 64,
      'data.width': 64,
      'train.steps': 400,
      'train.batch_size': 8,
      'train.checkpoint_every_steps': 100,
      'optimizer.learning_rate': 1e-3,
    },
  ),
  'tiny': Variant('four updates of a very small network, for tests', {**_size('tiny'), **_TINY}),
}


def make_config(
  name: str,
  variants: str = 'paper',
  *,
  options: Mapping[str, Any] | None = None,
  values: Mapping[str, Any] | None = None,
) -> config_dict.ConfigDict:
  """Make the config of a data set, as a config file returns it.

  Args:
    name: name of the data set.
    variants: one name of `VARIANTS`, or several with commas, applied from left to right.
    options: the data set's own options with their defaults (`data.options`).
    values: field -> value, applied before the variants.

  Returns:
    The config, locked: an unknown field is an error.

  Raises:
    UserError: for a variant that does not exist, or that undoes an earlier choice of the network.
  """
  names = [variant.strip() for variant in variants.split(',')]
  config = _defaults()
  config.data.name = name
  config.data.root = f'data/{name}'
  with config.unlocked():
    config.data.options = dict(options or {})
  _apply(config, values or {})
  for variant in names:
    _apply_variant(config, variant)
  _check_networks(names)
  config.variant = variants
  return config


def variants_help() -> str:
  """Return one line per variant, for `--help`."""
  width = max(len(name) for name in VARIANTS)
  lines = []
  for name, variant in VARIANTS.items():
    lines.append(f'  {name:{width}s}  {variant.text}')
  return '\n'.join(lines)


def _defaults() -> config_dict.ConfigDict:
  values = dataclasses.asdict(fields.Config())
  return config_dict.ConfigDict(values).lock()


def _apply_variant(config: config_dict.ConfigDict, name: str) -> None:
  if not name:
    raise UserError(f'the name of a variant is missing. Known: {", ".join(VARIANTS)}')
  if name not in VARIANTS:
    near = difflib.get_close_matches(name, VARIANTS, n=1, cutoff=0.5)
    hint = f'; did you mean {near[0]!r}?' if near else '.'
    raise UserError(f'unknown variant {name!r}{hint} Known: {", ".join(VARIANTS)}')
  for included in VARIANTS[name].includes:
    _apply_variant(config, included)
  _apply(config, VARIANTS[name].values)


def _check_networks(names: Sequence[str]) -> None:
  """Check that no variant undoes a network that another one chose."""
  networks = [name for name in names if 'model.kind' in VARIANTS[name].values]
  if len(networks) > 1:
    raise UserError(
      f'variants {",".join(names)}: {" and ".join(networks)} each choose the network; keep one'
    )
  for network in networks:
    own = VARIANTS[network].values
    for later in names[names.index(network) + 1 :]:
      values = _all_values(later)
      changed = [field for field in own if field in values and values[field] != own[field]]
      if changed:
        raise UserError(
          f'variants {",".join(names)}: {later} would undo {changed[0]} of {network}; name '
          f'{later} first, as in {later},{network}'
        )


def _all_values(name: str) -> dict[str, Any]:
  """Return the values of a variant and of those that it includes."""
  values: dict[str, Any] = {}
  for included in VARIANTS[name].includes:
    values |= _all_values(included)
  return values | dict(VARIANTS[name].values)


def _apply(config: config_dict.ConfigDict, values: Mapping[str, Any | Callable]) -> None:
  resolved = {}
  for field, value in values.items():
    resolved[field] = value(config) if callable(value) else value
  config.update_from_flattened_dict(resolved)
