"""One update: losses, RMSprop, gradients of both networks, one device and four."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.experimental.compilation_cache import compilation_cache as jax_cache

from a3dcae_jax.config import fields
from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.training import losses, parallel
from a3dcae_jax.training.noise import clip_noise
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import clip_masks, make_train_step

SHAPE = (4, 16, 16)  # T, H, W
RATE = 2e-4
NETWORKS = ('generator', 'discriminator')


def networks(axis_name=None):
  """Make both networks, with rounding that does not depend on the local batch.

  RMSprop divides by the gradient and so amplifies rounding errors.
  """
  options = {'axis_name': axis_name, 'conv_algorithm': 'folded'}
  return AutoEncoder((2, 3), **options), Discriminator((2, 3), 3, **options)


def rmsprop(learning_rate=RATE):
  return make_optimizer(fields.Optimizer(learning_rate=learning_rate), 100)


def fresh(optimizer):
  return init_state(*networks(), optimizer, clip_shape=SHAPE, seed=0)


def make_batch():
  """Return clips and a mean image."""
  rng = np.random.default_rng(0)
  clips = rng.integers(0, 256, (4, *SHAPE), dtype=np.uint8)
  return clips, np.full(SHAPE[1:], 0.5, np.float32)


@pytest.fixture
def batch():
  return make_batch()


def logit(probabilities):
  return jnp.log(probabilities / (1 - probabilities))


def test_losses_of_a_discriminator_that_cannot_distinguish():
  zero = jnp.zeros((3,))
  np.testing.assert_allclose(losses.discriminator_loss(zero, zero), 2 * np.log(2), rtol=1e-6)
  np.testing.assert_allclose(losses.generator_adversarial_loss(zero), np.log(2), rtol=1e-6)


def test_adversarial_losses_by_hand():
  real = logit(jnp.asarray([0.9, 0.6]))
  fake = logit(jnp.asarray([0.2, 0.5]))
  expected = -np.log([0.9, 0.6]).mean() - np.log([0.8, 0.5]).mean()
  np.testing.assert_allclose(losses.discriminator_loss(real, fake), expected, rtol=1e-5)
  expected = -np.log([0.2, 0.5]).mean()
  np.testing.assert_allclose(losses.generator_adversarial_loss(fake), expected, rtol=1e-5)


def test_reconstruction_loss_by_hand():
  clips = jnp.zeros((2, 1, 1, 2, 1))
  recon = jnp.asarray([1.0, 2.0, 3.0, 0.0]).reshape(clips.shape)
  np.testing.assert_allclose(losses.reconstruction_loss(recon, clips), 14 / 4)


def test_rmsprop_equals_pytorch(rng):
  """Ten steps of torch.optim.RMSprop(lr=2e-4, alpha=0.99, eps=1e-8), transcribed."""
  optimizer = rmsprop()
  start = rng.standard_normal(5).astype(np.float32)
  expected = start.astype(np.float64)
  square = np.zeros(5)
  params = jnp.asarray(start)
  state = optimizer.init(params)
  for _ in range(10):
    grad = rng.standard_normal(5).astype(np.float32) * 10 ** rng.uniform(-4, 1)
    square = 0.99 * square + 0.01 * grad.astype(np.float64) ** 2
    expected = expected - 2e-4 * grad / (np.sqrt(square) + 1e-8)
    updates, state = optimizer.update(jnp.asarray(grad), state, params)
    params = params + updates
  np.testing.assert_allclose(params, expected, rtol=1e-5)


def test_noise_depends_only_on_seed_step_and_example():
  whole = clip_noise(0, 3, 0, (4, 2, 2), 1.0)
  np.testing.assert_array_equal(whole[2:], clip_noise(0, 3, 2, (2, 2, 2), 1.0))
  assert not np.array_equal(whole, clip_noise(0, 4, 0, (4, 2, 2), 1.0))
  assert not np.array_equal(whole, clip_noise(1, 3, 0, (4, 2, 2), 1.0))


def test_noise_has_the_given_standard_deviation():
  noise = clip_noise(0, 0, 0, (1, 40_000), 0.005)
  np.testing.assert_allclose([noise.mean(), noise.std()], [0, 0.005], atol=1e-4)


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_each_frame_is_normalised_by_itself(dtype):
  """The gain of a frame S is sqrt(2 c^2 / (mean(S^2) + c^2)).

  A frame of root mean square c is unchanged, a crowded one is reduced, and an empty one grows by
  sqrt(2) at most.
  """
  mean_image = np.full((8, 8), 100 / 255, np.float32)
  signs = np.where(np.indices((8, 8)).sum(0) % 2, 1, -1)
  frames = [100 + signs * deviation for deviation in (10, 40, 1)]
  clips = np.stack(frames)[None].astype(np.uint8)
  if dtype == np.float32:
    clips = clips.astype(np.float32) / 255
  plain = np.asarray(network_input(clips, mean_image))
  normalised = np.asarray(network_input(clips, mean_image, target_rms=10 / 255))
  gains = (normalised / plain)[0].mean((1, 2, 3))
  np.testing.assert_allclose(gains, np.sqrt(2 / np.asarray([2, 17, 1.01])), rtol=1e-5)
  np.testing.assert_allclose(network_input(clips, mean_image, target_rms=0.0), plain)


def test_the_step_trains_on_the_result_of_prepare(batch):
  """The error of the first update is that of the normalised frames."""
  optimizer = rmsprop()
  state = fresh(optimizer)
  errors = []
  for target_rms in (0.0, 0.01):
    prepare = functools.partial(network_input, target_rms=target_rms)
    loss = fields.Loss(adversarial_weight=0.0)
    step = make_train_step(*networks(), optimizer, loss, seed=0, prepare=prepare)
    _, metrics = jax.jit(step)(state, *batch)
    errors.append(metrics['rec'])
  assert errors[1] < 0.5 * errors[0]  # the frames of `batch` are far above a hundredth


@pytest.fixture(scope='module')
def gradients():
  """A function from lambda to the first state, the gradients and the metrics."""
  return functools.cache(make_gradients)


def make_gradients(weight):
  """With gradient descent at rate 1, parameters change by minus the gradient."""
  optimizer = optax.sgd(1.0)
  state = fresh(optimizer)
  step = make_train_step(*networks(), optimizer, fields.Loss(adversarial_weight=weight), seed=0)
  after, metrics = jax.jit(step)(state, *make_batch())
  return state, jax.tree.map(jnp.subtract, state, after), metrics


def separate_losses(state, batch, weight):
  """Return each network's loss as a function of its own parameters alone."""
  generator, discriminator = networks()
  real = network_input(*batch)
  noisy = real + clip_noise(0, 0, 0, real.shape, 0.005)

  def reconstruct(theta):
    variables = {'params': theta, 'batch_stats': state.batch_stats}
    recon, _ = generator.apply(variables, noisy, train=True, mutable=['batch_stats'])
    return recon

  def discriminate(phi, clips):
    return discriminator.apply({'params': phi}, clips)

  def generator_loss(theta):
    recon = reconstruct(theta)
    adversarial = losses.generator_adversarial_loss(discriminate(state.discriminator, recon))
    return losses.reconstruction_loss(recon, real) + weight * adversarial

  def discriminator_loss(phi):
    recon = reconstruct(state.generator)
    return losses.discriminator_loss(discriminate(phi, real), discriminate(phi, recon))

  return generator_loss, discriminator_loss


@pytest.mark.slow
def test_each_network_gets_the_gradient_of_its_own_loss(batch, gradients):
  weight = 0.2
  state, moved, metrics = gradients(weight)
  generator_loss, discriminator_loss = separate_losses(state, batch, weight)

  def compare(got, expected):
    np.testing.assert_allclose(got, expected, rtol=1e-3, atol=2e-5)

  gen, gradient = jax.jit(jax.value_and_grad(generator_loss))(state.generator)
  jax.tree.map(compare, moved.generator, gradient)
  np.testing.assert_allclose(metrics['gen'], gen, rtol=1e-5)
  adv, gradient = jax.jit(jax.value_and_grad(discriminator_loss))(state.discriminator)
  jax.tree.map(compare, moved.discriminator, gradient)
  np.testing.assert_allclose(metrics['adv'], adv, rtol=1e-5)


@pytest.mark.slow
def test_lambda_scales_the_adversarial_gradient_of_the_auto_encoder_alone(gradients):
  _, small, _ = gradients(0.1)
  _, large, _ = gradients(0.2)
  _, none, metrics = gradients(0.0)
  jax.tree.map(np.testing.assert_array_equal, small.discriminator, large.discriminator)

  def compare(of_small, of_large, of_none):
    expected = 2 * (of_small - of_none)
    np.testing.assert_allclose(of_large - of_none, expected, rtol=1e-2, atol=1e-5)

  jax.tree.map(compare, small.generator, large.generator, none.generator)
  assert 'adv' not in metrics
  for gradient in jax.tree.leaves(none.discriminator):
    assert not gradient.any()


def run_on(devices, batch, steps=3):
  """Train on some devices; return state and metrics."""
  optimizer = rmsprop()
  loss = fields.Loss(adversarial_weight=1e-3)
  step = make_train_step(*networks(parallel.AXIS), optimizer, loss, seed=0, axis_name=parallel.AXIS)
  mapped = parallel.map_step(step, num_shared=1, devices=devices)
  state = parallel.replicate(fresh(optimizer), devices)
  clips = parallel.shard(batch[0], devices)
  mean_image = parallel.replicate(batch[1], devices)
  for _ in range(steps):
    state, metrics = mapped(state, clips, mean_image)
    jax.block_until_ready(metrics)
  return jax.device_get((state, metrics))


def test_four_devices_equal_one(batch):
  """Parameters, statistics and running squares of the gradients are equal."""
  one, one_metrics = run_on(jax.devices()[:1], batch)
  four, four_metrics = run_on(jax.devices()[:4], batch)

  def compare(of_one, of_four):
    np.testing.assert_allclose(of_one, of_four, rtol=2e-3, atol=2e-5)

  for name in (*NETWORKS, 'batch_stats', 'generator_opt', 'discriminator_opt'):
    jax.tree.map(compare, getattr(one, name), getattr(four, name))
  for name in one_metrics:
    np.testing.assert_allclose(one_metrics[name], four_metrics[name], rtol=1e-3, err_msg=name)


def changes_on_four_devices(dtype, batch):
  """Return the gradients of both networks, sent between four devices in `dtype`."""
  clips, mean_image = batch
  optimizer = optax.sgd(1.0)
  devices = jax.local_devices()[:4]
  state = fresh(optimizer)
  step = make_train_step(
    *networks(parallel.AXIS),
    optimizer,
    fields.Loss(adversarial_weight=0.5),
    seed=0,
    axis_name=parallel.AXIS,
    gradient_dtype=dtype,
  )
  mapped = parallel.map_step(step, num_shared=1, devices=devices, donate_state=False)
  program = str(jax.make_jaxpr(mapped)(state, clips[:, None], mean_image))
  assert (':bf16[' in program) == (dtype == 'bfloat16')
  sharded = parallel.shard(clips, devices)
  after, _ = mapped(parallel.replicate(state, devices), sharded, mean_image)
  changes = []
  for name in NETWORKS:
    changes.append(jax.tree.map(jnp.subtract, getattr(state, name), getattr(after, name)))
  return jax.device_get(changes)


@pytest.mark.slow
def test_gradients_sent_in_bfloat16_are_equal_up_to_rounding(batch):
  exact = changes_on_four_devices('float32', batch)
  rounded = changes_on_four_devices('bfloat16', batch)

  def compare(exact, rounded):
    assert rounded.dtype == np.float32
    assert np.abs(rounded).max() > 0
    # Four gradients and their sum are rounded, each by 2^-9 at most.
    atol = 4 * 2.0**-8 * np.abs(exact).max() + 1e-7
    np.testing.assert_allclose(rounded, exact, atol=atol)

  jax.tree.map(compare, exact, rounded)


def test_masked_frames_reach_the_loss_only_as_targets(batch):
  """Masked pixels affect the loss only as targets; visible frames do not count."""
  clips, mean_image = batch
  loss = fields.Loss(adversarial_weight=0.0, noise_std=0.0, mask_period=4, mask_length=1)
  masked = np.asarray(clip_masks(0, 0, 0, (4, SHAPE[0]), loss))
  assert masked.sum(1).tolist() == [1] * 4  # T = 4: one frame of each clip
  optimizer = rmsprop()
  state = fresh(optimizer)
  step = jax.jit(make_train_step(*networks(), optimizer, loss, seed=0))

  is_masked = masked[..., None, None, None]
  visible = np.where(is_masked, 0, network_input(clips, mean_image))
  variables = {'params': state.generator, 'batch_stats': state.batch_stats}
  generator, _ = networks()
  apply = jax.jit(generator.apply, static_argnames=('train', 'mutable'))
  recon, _ = apply(variables, visible, train=True, mutable=('batch_stats',))
  for value in (0, 255):
    changed = np.where(masked[..., None, None], value, clips).astype(np.uint8)
    errors = recon - network_input(changed, mean_image)
    expected = np.square(np.where(is_masked, errors, 0)).mean()
    _, metrics = step(state, changed, mean_image)
    np.testing.assert_allclose(metrics['rec'], expected, rtol=1e-4)


def test_training_lowers_the_loss(batch):
  optimizer = rmsprop(1e-2)
  loss = fields.Loss(adversarial_weight=1e-3)
  step = jax.jit(make_train_step(*networks(), optimizer, loss, seed=0))
  state, first = step(fresh(optimizer), *batch)
  for _ in range(30):
    state, last = step(state, *batch)
  assert last['rec'] < 0.7 * first['rec']
  assert int(state.step) == 31


@pytest.fixture
def compilation_cache(tmp_path):
  """An empty compilation cache, in use."""
  options = {
    'jax_compilation_cache_dir': str(tmp_path),
    'jax_persistent_cache_min_compile_time_secs': 0.0,
    'jax_persistent_cache_min_entry_size_bytes': -1,
  }
  before = {name: getattr(jax.config, name) for name in options}
  for name, value in options.items():
    jax.config.update(name, value)
  jax_cache.reset_cache()
  yield
  for name, value in before.items():
    jax.config.update(name, value)
  jax_cache.reset_cache()


@pytest.mark.slow
def test_a_step_from_the_compilation_cache_is_equal_to_the_bit(batch, compilation_cache):
  optimizer = rmsprop()
  loss = fields.Loss(adversarial_weight=0.0)
  state = fresh(optimizer)
  hits = []

  def listen(event, **_):
    if event == '/jax/compilation_cache/cache_hits':
      hits.append(event)

  def run():
    jax.clear_caches()
    hits.clear()
    step = jax.jit(make_train_step(*networks(), optimizer, loss, seed=0))
    return jax.device_get(step(state, *batch)), len(hits)

  jax.monitoring.register_event_listener(listen)
  compiled, hits_at_first = run()
  read, hits_at_second = run()
  jax.monitoring.unregister_event_listener(listen)
  assert hits_at_first == 0
  assert hits_at_second > 0
  jax.tree.map(np.testing.assert_array_equal, compiled, read)
