"""Check every choice, range and relation of a config before a run starts."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.files import local_path
from a3dcae_jax.config.fields import Config, Model
from a3dcae_jax.config.presets import PRESETS

_MOST_CHANNELS = 8192


def checked(config: Mapping[str, Any]) -> Config:
  """Turn a config into frozen, checked settings.

  Args:
    config: a `ConfigDict`, or the dict of a `config.json`.

  Returns:
    The settings. Lists become tuples. Whole numbers become floats where the field is a float.

  Raises:
    UserError: for the first field that is unknown, has the wrong type, is out of range or
      contradicts another field. The message has the field, its value and the rule.
  """
  values = config.to_dict() if hasattr(config, 'to_dict') else dict(config)
  settings = _read(Config, values, '')
  _check_places(settings)
  _check_sizes(settings)
  _check_strides(settings)
  _check_masks(settings)
  _check_input(settings)
  _check_objects(settings)
  _check_windows(settings)
  _check_threshold(settings)
  return settings


def size_multiples(model: Model, adversarial: bool = False) -> tuple[int, int]:
  """Return the factors that the window and the image size must be multiples of.

  Args:
    model: the settings of the networks.
    adversarial: whether the discriminator is trained too.
  """
  layers = len(model.widths)
  frames, pixels = {
    'a3dcae': (2 ** (layers - 2) if model.pool_time else 1, 2 ** (layers - 1)),
    'a2dcae': (1, 2 ** (layers - 1)),
    'conv_ae': (1, 16),
    'convlstm_ae': (1, 8),
    'plain_3d': (8, 16),
  }[model.kind]
  if adversarial:
    convolutions = len(model.discriminator_widths)
    frames = max(frames, 2 ** (convolutions - 1))
    pixels = max(pixels, 2**convolutions)
  return frames, pixels


def _read(kind: type, values: Mapping[str, Any], path: str) -> Any:
  """Read a dataclass of type `kind` from a dict and check each value."""
  if not isinstance(values, Mapping):
    raise UserError(f'{path.removesuffix(".")} (={values!r}) must be an object')
  known = {field.name: field for field in dataclasses.fields(kind)}
  for name in values:
    if name not in known:
      raise UserError(f'{path}{name} is not a field of the config; known: {", ".join(known)}')
  hints = typing.get_type_hints(kind)
  read = {}
  for name, field in known.items():
    if name not in values:
      raise UserError(f'{path}{name} is missing from the config')
    if dataclasses.is_dataclass(hints[name]):
      read[name] = _read(hints[name], values[name], f'{path}{name}.')
    else:
      value = _typed(values[name], hints[name], path + name)
      if field.metadata.get('path'):
        value = local_path(value, path + name)
      _check_rule(value, field.metadata, path + name)
      read[name] = value
  return kind(**read)


def _typed(value: Any, kind: type, name: str) -> Any:
  """Return `value` as a `kind`, or raise a `UserError`."""
  if kind is dict and isinstance(value, Mapping):
    read = {}
    for key, entry in value.items():  # a text may be a path
      if isinstance(entry, float) and not math.isfinite(entry):
        raise UserError(f'{name}.{key} (={entry}) must be a finite number')
      read[key] = local_path(entry, f'{name}.{key}') if isinstance(entry, str) else entry
    return types.MappingProxyType(read)
  if kind is tuple and isinstance(value, (list, tuple)):
    return tuple(value)
  if kind is float and isinstance(value, int) and not isinstance(value, bool):
    return float(value)
  if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
    raise UserError(f'{name} (={value!r}) must be of type {kind.__name__}')
  return value


def _is_number(value: Any, kinds: Any = (int, float)) -> bool:
  """Return whether a value is a number of some kinds; True and False are none."""
  return isinstance(value, kinds) and not isinstance(value, bool)


def _check_rule(value: Any, rule: Mapping[str, Any], name: str) -> None:
  """Check a value against the choices and bounds that its field declares."""
  if 'choices' in rule and value not in rule['choices']:
    raise UserError(f'{name} {value!r}: known are {", ".join(rule["choices"])}')
  if isinstance(value, float) and not math.isfinite(value):
    raise UserError(f'{name} (={value}) must be a finite number')
  bounds = {
    'at_least': (lambda bound: value >= bound, 'at least'),
    'above': (lambda bound: value > bound, 'above'),
    'at_most': (lambda bound: value <= bound, 'at most'),
    'below': (lambda bound: value < bound, 'below'),
  }
  for key, (holds, words) in bounds.items():
    if key in rule and not holds(rule[key]):
      raise UserError(f'{name} (={value}) must be {words} {rule[key]}')


def _check_places(settings: Config) -> None:
  if not settings.data.cache_dir:
    raise UserError('data.cache_dir is empty: name the folder of the frame caches')


def _check_sizes(settings: Config) -> None:
  """Check that the networks can halve the window and the image often enough."""
  model = settings.model
  _check_widths('model.widths', model.widths, least=2)
  _check_widths('model.discriminator_widths', model.discriminator_widths, least=1)
  _check_kind(model)
  frames, pixels = size_multiples(model, settings.loss.adversarial_weight > 0)
  images = [('data.height', settings.data.height), ('data.width', settings.data.width)]
  if settings.objects.detector:
    images = [('objects.crop_px', settings.objects.crop_px)]
  for name, value, multiple in (
    ('clips.window', settings.clips.window, frames),
    *((name, value, pixels) for name, value in images),
  ):
    if value % multiple:
      halvings = multiple.bit_length() - 1
      raise UserError(
        f'{name} (={value}) must be a multiple of {multiple}: '
        f'the networks halve it {halvings} times'
      )


def _check_kind(model: Model) -> None:
  """Check the relations of `model.kind` to the rest of the model."""
  published = PRESETS.get(model.kind)  # of the networks that the paper compares itself with
  layers = len(published.widths) if published else len(model.widths)
  if len(model.widths) != layers:
    raise UserError(
      f'model.widths (={model.widths}) must have {layers} entries with model.kind {model.kind!r}'
    )
  if not model.pool_time and model.kind != 'a3dcae':
    raise UserError(
      f"model.pool_time (={model.pool_time}) needs model.kind 'a3dcae', not {model.kind!r}, which "
      'has no pools over frames'
    )


def _check_widths(name: str, widths: tuple, *, least: int) -> None:
  for width in widths:
    if not _is_number(width, int) or not 1 <= width <= _MOST_CHANNELS:
      raise UserError(f'{name} (={widths}) must be whole numbers from 1 to {_MOST_CHANNELS}')
  if len(widths) < least:
    raise UserError(f'{name} (={widths}) must have at least {least} entries')


def _check_strides(settings: Config) -> None:
  strides = settings.clips.strides
  is_valid = len(strides) > 0
  for stride in strides:
    is_valid = is_valid and _is_number(stride) and 0 <= stride < math.inf
  if not is_valid:
    raise UserError(f'clips.strides (={strides}) must be one or more finite numbers from 0 on')


def _check_masks(settings: Config) -> None:
  period, length = settings.loss.mask_period, settings.loss.mask_length
  window = settings.clips.window
  if period and not length < period <= window:
    raise UserError(
      f'loss.mask_length (={length}) must be below loss.mask_period (={period}), and that must '
      f'not exceed clips.window (={window})'
    )


def _check_input(settings: Config) -> None:
  is_flow = settings.input.kind == 'flow'
  if settings.input.perspective == 'auto' and not is_flow:
    raise UserError("input.perspective 'auto' needs optical flow: set input.kind to flow")
  noise = settings.loss.noise
  if noise in ('salt_and_pepper', 'poisson') and settings.input.kind != 'frames':
    raise UserError(
      f'loss.noise {noise!r} is noise of pixels: it needs input.kind frames, not '
      f'{settings.input.kind}'
    )
  if is_flow and settings.eval.error == 'local':
    raise UserError("eval.error 'local' finds motion in frames; with input.kind 'flow' use eq13")


def _check_objects(settings: Config) -> None:
  """Check the relations of `objects` to the rest."""
  options = settings.objects
  weights = settings.eval.object_weights
  _check_weights(weights)
  for number in options.classes:
    if not _is_number(number, int) or not 0 <= number < 2**31:
      raise UserError(f'objects.classes (={options.classes}) must be whole numbers from 0 on')
  has_motion = settings.input.kind == 'frames_and_differences'
  if not options.detector:
    if has_motion:
      raise UserError(
        "input.kind 'frames_and_differences' needs objects: set objects.detector, "
        'to foreground for instance'
      )
    return
  if weights[1] and not has_motion:
    raise UserError(
      f'eval.object_weights (={weights}) count the motion error, which needs input.kind '
      "'frames_and_differences'"
    )
  for name, value, allowed in (
    ('input.kind', settings.input.kind, ('frames', 'frames_and_differences')),
    ('input.target_rms', settings.input.target_rms, (0.0,)),
    ('loss.mask_period', settings.loss.mask_period, (0,)),
    ('clips.strides', settings.clips.strides, ((1,),)),
    ('eval.stride', settings.eval.stride, (1,)),
    ('eval.error', settings.eval.error, ('eq13',)),
    ('eval.per_position', settings.eval.per_position, (False,)),
  ):
    if value not in allowed:
      known = ' or '.join(repr(choice) for choice in allowed)
      raise UserError(f'{name} (={value!r}) must be {known} where objects are scored')
  if has_motion and settings.loss.adversarial_weight:
    raise UserError(
      f'loss.adversarial_weight (={settings.loss.adversarial_weight}) must be 0 with input.kind '
      "'frames_and_differences': the discriminator sees one kind of input"
    )


def _check_weights(weights: tuple) -> None:
  are_numbers = all(map(_is_number, weights))
  if len(weights) != 3 or not are_numbers or min(weights) < 0 or not 0 < sum(weights) < math.inf:
    raise UserError(
      f'eval.object_weights (={weights}) must be three numbers from 0 on, not all 0: weights of '
      'appearance, motion and speed'
    )


def _check_windows(settings: Config) -> None:
  step, window = settings.eval.window_step, settings.clips.window
  if step > window:
    raise UserError(
      f'eval.window_step (={step}) must not exceed clips.window (={window}): '
      'frames between the windows would not be scored'
    )


def _check_threshold(settings: Config) -> None:
  rule, value = settings.events.threshold_rule, settings.events.threshold_value
  if rule == 'quantile' and not 0 < value < 1:
    raise UserError(f'events.threshold_value (={value}): a quantile must lie between 0 and 1')
  if rule == 'rate' and value < 0:
    raise UserError(f'events.threshold_value (={value}): a rate must not be negative')
