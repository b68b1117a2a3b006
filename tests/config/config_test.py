"""Settings: every file and variant is valid, every wrong value is refused by name."""

import dataclasses
import importlib

import jax
import pytest

from a3dcae_jax import configs
from a3dcae_jax.common.errors import UserError
from a3dcae_jax.config import VARIANTS, checked, fields, make_config
from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.data import builders
from a3dcae_jax.run.train import fresh_state

FILES = configs.names()


def load(name):
  return importlib.import_module(f'a3dcae_jax.configs.{name}')


def changed(**values):
  config = make_config('synthetic', 'tiny')
  config.update_from_flattened_dict(values)
  return config


@pytest.mark.parametrize('name', FILES)
@pytest.mark.parametrize('variant', VARIANTS)
def test_every_file_has_every_variant(name, variant):
  config = load(name).get_config(variant)
  settings = checked(config)
  assert config.is_locked
  assert settings.data.name == name
  assert settings.variant == variant


def test_there_is_a_file_for_every_data_set():
  assert sorted(builders.NAMES) == FILES


@pytest.mark.parametrize('variant', VARIANTS)
def test_the_networks_of_every_variant_can_be_made(variant):
  settings = checked(make_config('avenue', variant))
  state = jax.eval_shape(lambda: fresh_state(settings))  # shapes alone, without memory
  assert state.step.shape == ()


def test_the_default_is_the_paper_as_printed():
  settings = checked(load('avenue').get_config())
  assert settings == dataclasses.replace(fields.Config(), data=settings.data, variant='paper')
  assert settings.data == fields.Data(
    name='avenue', root='data/avenue', options=settings.data.options
  )
  assert settings.model.widths == (64, 128, 256, 512, 512)
  assert (settings.data.height, settings.data.width) == (224, 224)
  assert settings.clips.strides == (1, 2, 3)
  assert settings.optimizer == fields.Optimizer(learning_rate=2e-4, schedule='constant')
  assert settings.loss.noise_std == 0.005
  assert settings.input.target_rms == 0
  assert (settings.eval.window_step, settings.eval.stride) == (0, 1)
  assert (settings.eval.error, settings.eval.normalisation) == ('eq13', 'eq14')
  assert settings.eval.smoothing_frames == 0
  assert not settings.eval.per_position


def test_variants_compose_from_left_to_right():
  small = checked(make_config('avenue', 'small'))
  both = checked(make_config('avenue', 'small,without_gan'))
  assert both.loss.adversarial_weight == 0
  assert both.model == small.model
  assert both.variant == 'small,without_gan'
  # The later variant wins. `paper` itself changes nothing.
  assert checked(make_config('avenue', 'without_gan,small')).loss == small.loss
  six = checked(make_config('avenue', 'tuned,six_layers'))
  assert six.model.widths == (64, 128, 256)
  assert six.optimizer == checked(make_config('avenue', 'tuned')).optimizer


@pytest.mark.parametrize(
  ('variants', 'message'),
  [
    ('conv_ae,small', 'small would undo model.widths of conv_ae.*as in small,conv_ae'),
    ('convlstm_ae,tuned', 'tuned would undo loss.adversarial_weight of convlstm_ae'),
    ('plain_3d,best', 'best would undo model.widths of plain_3d'),
    ('tiny,conv_ae,without_3d_conv', 'conv_ae and without_3d_conv each choose the network'),
    ('tiny,conv_ae,conv_ae', 'conv_ae and conv_ae each choose the network'),
  ],
)
def test_a_variant_that_would_mix_two_networks_is_refused(variants, message):
  with pytest.raises(UserError, match=message):
    make_config('avenue', variants)


def test_a_network_compared_with_goes_with_noises_and_a_size_before_it():
  both = make_config('avenue', 'small,conv_ae,noise_poisson,without_gan')
  assert both.model.widths == make_config('avenue', 'small,conv_ae').model.widths
  assert make_config('avenue', 'without_3d_conv,small').model.kind == 'a2dcae'


@pytest.mark.parametrize('name', ['conv_ae', 'convlstm_ae', 'plain_3d'])
def test_networks_compared_with_have_their_published_widths_or_a_share_of_them(name):
  published = PRESETS[name].widths
  paper = checked(make_config('avenue', name))
  small = checked(make_config('avenue', f'small,{name}'))
  assert paper.model.widths == published
  assert small.model.widths == tuple(width // 4 for width in published)
  assert paper.clips.window == small.clips.window == PRESETS[name].window
  assert small.optimizer == checked(make_config('avenue', 'small')).optimizer
  with pytest.raises(UserError, match='data.height .* multiple of'):
    config = make_config('avenue', name)
    config.data.height = 228
    checked(config)


def test_ablations_compose():
  both = checked(make_config('avenue', 'small,without_3d_pool,noise_poisson,without_gan'))
  small = checked(make_config('avenue', 'small'))
  assert not both.model.pool_time
  assert both.loss.noise == 'poisson'
  assert both.model == dataclasses.replace(small.model, pool_time=False)


def test_small_and_flow_include_tuned():
  tuned = checked(make_config('avenue', 'tuned'))
  small = checked(make_config('avenue', 'small'))
  assert small.input == tuned.input
  assert small.loss == tuned.loss
  assert small.eval == tuned.eval
  flow = checked(make_config('avenue', 'flow'))
  assert flow.input == fields.Input(kind='flow', perspective='auto')


def test_an_unknown_variant_is_named_with_a_near_one():
  with pytest.raises(UserError, match="unknown variant 'smal'; did you mean 'small'"):
    make_config('avenue', 'smal')
  with pytest.raises(UserError, match='name of a variant is missing'):
    make_config('avenue', 'small,')


# One wrong value for each rule of each field, and one for each relation between fields.
WRONG = {
  'seed': -1,
  'data.height': 50,
  'data.width': 0,
  'data.mean_image': 'camera',
  'clips.window': 12,
  'clips.strides': (-1,),
  'objects.min_score': 2.0,
  'objects.min_size_px': 0,
  'objects.max_per_frame': 0,
  'objects.crop_px': 1,
  'input.kind': 'edges',
  'input.target_rms': -0.1,
  'input.perspective': 'auto',
  'model.kind': 'foo',
  'model.widths': (8,),
  'model.discriminator_widths': (),
  'model.discriminator_units': 0,
  'model.unpooling': 'foo',
  'model.bn_scale_init': 0.0,
  'model.output_gain': 0.0,
  'model.dtype': 'float16',
  'model.remat': 'all',
  'loss.adversarial_weight': -1.0,
  'loss.noise': 'foo',
  'loss.noise_std': -1.0,
  'loss.mask_period': -1,
  'loss.mask_length': 0,
  'optimizer.learning_rate': 0.0,
  'optimizer.schedule': 'foo',
  'train.steps': 0,
  'train.batch_size': 0,
  'train.holdout_videos': -1,
  'train.input_pipeline': 'foo',
  'train.log_every_steps': 0,
  'train.checkpoint_every_steps': 0,
  'train.keep_checkpoints': 0,
  'train.time_limit_s': -1.0,
  'eval.batch_size': 0,
  'eval.normalisation': 'foo',
  'eval.window_step': 99,
  'eval.stride': 0,
  'eval.calibration_windows': 0,
  'eval.error': 'foo',
  'eval.network_weight': 2.0,
  'eval.object_weights': (1.0, 0.0),
  'eval.smoothing_frames': -1.0,
  'eval.smoothing_mode': 'foo',
  'events.threshold_rule': 'foo',
  'events.threshold_value': 2.0,
  'events.frames_per_s': 0.0,
}
FREE = {  # fields without a rule, or checked by the data set
  'variant',
  'data.name',
  'data.root',
  'data.cache',
  'data.cache_dir',
  'data.label_set',
  'data.options',
  'model.pool_time',
  'eval.per_position',
  'objects.detector',
  'objects.classes',
  'objects.mirrored',
}


@pytest.mark.parametrize('field', WRONG)
def test_a_wrong_value_is_refused_by_name(field):
  with pytest.raises(UserError, match=rf'^{field}\b'):
    checked(changed(**{field: WRONG[field]}))


OBJECTS = {
  'objects.detector': 'foreground',
  'clips.window': 8,
  'clips.strides': (1,),
  'model.widths': (4, 4, 6),
  'model.discriminator_widths': (2, 2),
}


def test_objects_may_have_frames_of_any_size():
  settings = checked(changed(**OBJECTS, **{'data.height': 50, 'data.width': 71}))
  assert settings.objects.detector == 'foreground'


@pytest.mark.parametrize(
  'field, value',
  [
    ('objects.crop_px', 30),
    ('clips.window', 7),
    ('clips.strides', (1, 2)),
    ('input.kind', 'flow'),
    ('input.target_rms', 0.02),
    ('loss.mask_period', 4),
    ('eval.stride', 2),
    ('eval.error', 'local'),
    ('eval.per_position', True),
    ('eval.object_weights', (1, 0.5, 1)),
    ('eval.object_weights', (0, 0, 0)),
    ('eval.object_weights', (1, 0, -1)),
  ],
)
def test_a_value_that_objects_cannot_have_is_refused(field, value):
  with pytest.raises(UserError, match=rf'^{field}\b'):
    checked(changed(**(OBJECTS | {field: value})))


def test_differences_need_objects_and_no_discriminator():
  with pytest.raises(UserError, match='needs objects: set objects.detector'):
    checked(changed(**{'input.kind': 'frames_and_differences'}))
  with pytest.raises(UserError, match='loss.adversarial_weight .* must be 0'):
    checked(changed(**OBJECTS, **{'input.kind': 'frames_and_differences'}))


def test_every_field_has_a_rule_or_is_free():
  names = set()
  settings = fields.Config()
  for field in dataclasses.fields(settings):
    value = getattr(settings, field.name)
    if dataclasses.is_dataclass(value):
      names |= {f'{field.name}.{inner.name}' for inner in dataclasses.fields(value)}
    else:
      names.add(field.name)
  assert names == WRONG.keys() | FREE


@pytest.mark.parametrize(
  ('values', 'message'),
  [
    ({'loss.mask_period': 4, 'loss.mask_length': 4}, 'loss.mask_length'),
    ({'loss.mask_period': 32}, 'loss.mask_length'),
    ({'input.kind': 'flow', 'eval.error': 'local'}, "eval.error 'local'"),
    ({'events.threshold_rule': 'rate', 'events.threshold_value': -1.0}, 'a rate'),
    ({'clips.strides': ()}, 'clips.strides'),
    ({'model.kind': 'conv_ae'}, 'model.widths .* must have 3 entries'),
    ({'model.kind': 'a2dcae', 'model.pool_time': False}, 'model.pool_time'),
    ({'input.kind': 'flow', 'loss.noise': 'poisson'}, "loss.noise 'poisson' is noise of pixels"),
    ({'clips.strides': (True,)}, 'clips.strides'),
    ({'data.options': {'num_videos': float('nan')}}, 'data.options.num_videos'),
    ({'model.widths': (True, 4, 4)}, 'model.widths'),
    ({'model.widths': (10**6, 4, 4)}, 'whole numbers from 1 to 8192'),
    ({'data.height': 2**20}, 'at most 8192'),
    ({'eval.smoothing_frames': 1001.0}, 'eval.smoothing_frames .* at most 1000'),
    ({'eval.smoothing_frames': float('nan')}, 'eval.smoothing_frames'),
    ({'loss.noise_std': float('inf')}, 'loss.noise_std'),
  ],
)
def test_relations_between_fields_are_checked(values, message):
  with pytest.raises(UserError, match=message):
    checked(changed(**values))


def test_unknown_missing_and_mistyped_fields_are_refused():
  values = make_config('synthetic', 'tiny').to_dict()
  with pytest.raises(UserError, match='train.stepz is not a field'):
    checked(values | {'train': values['train'] | {'stepz': 1}})
  train = dict(values['train'])
  del train['steps']
  with pytest.raises(UserError, match='train.steps is missing'):
    checked(values | {'train': train})
  with pytest.raises(UserError, match='must be of type int'):
    checked(values | {'seed': 'zero'})
  with pytest.raises(UserError, match='must be of type int'):
    checked(values | {'seed': True})
  with pytest.raises(UserError, match='eval'):
    checked(values | {'eval': 3})
