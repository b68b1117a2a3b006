"""One update: the losses' constants, RMSprop against PyTorch's rule, who gets which gradient, one device against four."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from a3dcae_jax.models.autoencoder import AutoEncoder
from a3dcae_jax.models.discriminator import Discriminator
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.training import losses, parallel
from a3dcae_jax.training.state import init_state, make_optimizer
from a3dcae_jax.training.step import Objective, clip_masks, clip_noise, make_train_step

SHAPE = (4, 16, 16)  # T, H, W


def networks(axis_name=None):
  """Lowered so that rounding does not depend on the local batch: RMSprop divides by the gradient and shows every last bit."""
  return AutoEncoder((2, 3, 4), axis_name=axis_name, conv_algorithm='folded'), Discriminator(
    (2, 2, 3), 3, axis_name=axis_name, conv_algorithm='folded'
  )


def fresh(optimizer):
  return init_state(*networks(), optimizer, clip_shape=SHAPE, seed=0)


@pytest.fixture
def batch(rng):
  return rng.integers(0, 256, (4, *SHAPE), dtype=np.uint8), np.full(SHAPE[1:], 0.5, np.float32)


def test_losses_when_the_discriminator_is_confused():
  zero = jnp.zeros((3,))
  np.testing.assert_allclose(losses.discriminator_loss(zero, zero), 2 * np.log(2), rtol=1e-6)
  np.testing.assert_allclose(losses.generator_adversarial_loss(zero), np.log(2), rtol=1e-6)
  np.testing.assert_allclose(
    losses.generator_adversarial_loss(zero, 'saturating'), -np.log(2), rtol=1e-6
  )


def test_losses_by_hand():
  real, fake = jnp.asarray([0.9, 0.6]), jnp.asarray([0.2, 0.5])
  logit = lambda p: jnp.log(p / (1 - p))  # noqa: E731
  expected = -np.log([0.9, 0.6]).mean() - np.log([0.8, 0.5]).mean()
  np.testing.assert_allclose(
    losses.discriminator_loss(logit(real), logit(fake)), expected, rtol=1e-5
  )
  np.testing.assert_allclose(
    losses.generator_adversarial_loss(logit(fake)), -np.log([0.2, 0.5]).mean(), rtol=1e-5
  )
  clips, recon = (
    jnp.zeros((2, 1, 1, 2, 1)),
    jnp.asarray([1.0, 2.0, 3.0, 0.0]).reshape(2, 1, 1, 2, 1),
  )
  np.testing.assert_allclose(losses.reconstruction_loss(recon, clips), 14 / 4)
  np.testing.assert_allclose(losses.reconstruction_loss(recon, clips, 'sum'), 14 / 2)


@pytest.mark.parametrize(
  'call',
  [
    lambda: losses.reconstruction_loss(jnp.zeros(1), jnp.zeros(1), 'max'),
    lambda: losses.generator_adversarial_loss(jnp.zeros(1), 'hinge'),
  ],
)
def test_unknown_forms_are_named(call):
  with pytest.raises(ValueError, match='must be one of'):
    call()


def test_rmsprop_is_pytorchs(rng):
  """Ten steps of torch.optim.RMSprop(lr=2e-4, alpha=0.99, eps=1e-8), transcribed."""
  optimizer = make_optimizer()
  p = rng.standard_normal(5).astype(np.float32)
  expected, square = p.astype(np.float64), np.zeros(5)
  params, state = jnp.asarray(p), optimizer.init(jnp.asarray(p))
  for _ in range(10):
    g = rng.standard_normal(5).astype(np.float32) * 10 ** rng.uniform(-4, 1)
    square = 0.99 * square + 0.01 * g.astype(np.float64) ** 2
    expected = expected - 2e-4 * g / (np.sqrt(square) + 1e-8)
    updates, state = optimizer.update(jnp.asarray(g), state, params)
    params = params + updates
  np.testing.assert_allclose(params, expected, rtol=1e-5)


def test_noise_depends_on_seed_step_and_example_alone():
  whole = clip_noise(0, 3, 0, (4, 2, 2), 1.0)
  np.testing.assert_array_equal(whole[2:], clip_noise(0, 3, 2, (2, 2, 2), 1.0))
  assert not np.array_equal(whole, clip_noise(0, 4, 0, (4, 2, 2), 1.0))
  assert not np.array_equal(whole, clip_noise(1, 3, 0, (4, 2, 2), 1.0))
  many = clip_noise(0, 0, 0, (1, 40_000), 0.005)
  np.testing.assert_allclose([many.mean(), many.std()], [0, 0.005], atol=1e-4)


def gradients(weight, batch):
  """Updates of one step with plain gradient descent at rate 1: parameters move by minus the gradient."""
  import optax

  optimizer = optax.sgd(1.0)
  state = fresh(optimizer)
  step = make_train_step(*networks(), optimizer, Objective(adversarial_weight=weight), seed=0)
  after, metrics = jax.jit(step)(state, *batch)
  return state, jax.tree.map(jnp.subtract, state, after), metrics


@pytest.mark.parametrize('dtype', [np.uint8, np.float32])
def test_contrast_normalises_each_frame_by_itself(dtype):
  """S sqrt(2 c^2 / (mean(S^2) + c^2)): a usual frame stays, a crowded one is drawn in, an empty one grows by sqrt(2) at most."""
  mean_image = np.full((8, 8), 100 / 255, np.float32)
  signs = np.where(np.indices((8, 8)).sum(0) % 2, 1, -1)
  clips = np.stack([100 + signs * deviation for deviation in (10, 40, 1)])[None].astype(
    np.uint8
  )  # one clip of three frames
  clips = clips if dtype == np.uint8 else clips.astype(np.float32) / 255
  plain = np.asarray(network_input(clips, mean_image))
  got = np.asarray(network_input(clips, mean_image, target_rms=10 / 255))
  np.testing.assert_allclose(
    np.asarray(got / plain)[0].mean((1, 2, 3)), np.sqrt(2 / np.asarray([2, 17, 1.01])), rtol=1e-5
  )
  np.testing.assert_allclose(network_input(clips, mean_image, target_rms=0.0), plain)


def test_the_step_trains_on_frames_of_its_contrast(batch):
  """The error of the first update is that of the normalised frames."""
  optimizer = make_optimizer()
  state = fresh(optimizer)
  errors = [
    jax.jit(
      make_train_step(
        *networks(), optimizer, Objective(adversarial_weight=0.0), seed=0, target_rms=target_rms
      )
    )(state, *batch)[1]['rec']
    for target_rms in (0.0, 0.01)
  ]
  assert errors[1] < 0.5 * errors[0]  # the frames of `batch` are far above a hundredth


def test_each_network_gets_its_own_gradient(batch):
  """Against plain jax.grad of each loss with the other network held still."""
  weight = 0.3
  state, moved, metrics = gradients(weight, batch)
  generator, discriminator = networks()
  real = network_input(*batch)
  noisy = real + clip_noise(0, 0, 0, real.shape, 0.005)

  def reconstruct(theta):
    return generator.apply(
      {'params': theta, 'batch_stats': state.batch_stats},
      noisy,
      train=True,
      mutable=['batch_stats'],
    )[0]

  def judge(phi, clips):
    return discriminator.apply({'params': phi}, clips)

  def loss_r(theta):
    recon = reconstruct(theta)
    return losses.reconstruction_loss(recon, real) + weight * losses.generator_adversarial_loss(
      judge(state.discriminator, recon)
    )

  def loss_d(phi):
    return losses.discriminator_loss(
      judge(phi, real), judge(phi, jax.lax.stop_gradient(reconstruct(state.generator)))
    )

  for got, loss, at in (
    (moved.generator, loss_r, state.generator),
    (moved.discriminator, loss_d, state.discriminator),
  ):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5), got, jax.grad(loss)(at)
    )
  np.testing.assert_allclose(metrics['adv'], loss_d(state.discriminator), rtol=1e-5)
  np.testing.assert_allclose(metrics['gen'], loss_r(state.generator), rtol=1e-5)


def test_the_two_gradients_do_not_mix(batch):
  """lambda scales the auto-encoder's adversarial gradient and leaves the discriminator's alone; 0 leaves the latter out."""
  (_, small, _), (_, large, _), (_, none, metrics) = (
    gradients(weight, batch) for weight in (0.1, 0.2, 0.0)
  )
  jax.tree.map(np.testing.assert_array_equal, small.discriminator, large.discriminator)
  assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(none.discriminator)) == 0
  difference = jax.tree.map(
    lambda a, b, c: np.testing.assert_allclose(b - c, 2 * (a - c), rtol=1e-2, atol=1e-5),
    small.generator,
    large.generator,
    none.generator,
  )
  assert difference is not None and 'adv' not in metrics


def run_on(devices, batch, steps=3):
  optimizer = make_optimizer()
  step = make_train_step(
    *networks(parallel.AXIS), optimizer, Objective(), seed=0, axis_name=parallel.AXIS
  )
  mapped = parallel.map_step(step, num_shared=1, devices=devices)
  state = parallel.replicate(fresh(optimizer), devices)
  mean_image = parallel.replicate(batch[1], devices)
  for _ in range(steps):
    state, metrics = mapped(state, parallel.shard(batch[0], devices), mean_image)
    jax.block_until_ready(metrics)
  return jax.device_get((state, metrics))


def test_four_devices_equal_one(batch):
  """Gradients, statistics and noise: RMSprop's running squares show the gradients, the parameters everything."""
  (one, one_metrics), (four, four_metrics) = (
    run_on(jax.devices()[:1], batch),
    run_on(jax.devices()[:4], batch),
  )
  for name in ('generator', 'discriminator', 'batch_stats', 'generator_opt', 'discriminator_opt'):
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5),
      getattr(one, name),
      getattr(four, name),
    )
  for name in one_metrics:
    np.testing.assert_allclose(one_metrics[name], four_metrics[name], rtol=1e-3, err_msg=name)


@pytest.mark.slow
def test_gradients_sent_in_bfloat16_are_equal_to_rounding(batch):
  """Under plain descent at rate 1 the parameters' change is the averaged gradient."""
  clips, mean_image = batch
  optimizer, devices = optax.sgd(1.0), jax.local_devices()[:4]
  state = fresh(optimizer)
  changes = {}
  for dtype in ('float32', 'bfloat16'):
    step = make_train_step(
      *networks(parallel.AXIS),
      optimizer,
      Objective(adversarial_weight=0.5),
      seed=0,
      axis_name=parallel.AXIS,
      reduce_dtype=dtype,
    )
    mapped = parallel.map_step(step, num_shared=1, devices=devices, donate_state=False)
    assert (':bf16[' in str(jax.make_jaxpr(mapped)(state, clips[:, None], mean_image))) == (
      dtype == 'bfloat16'
    )  # what is sent
    after, _ = mapped(
      parallel.replicate(state, devices), parallel.shard(clips, devices), mean_image
    )
    changes[dtype] = jax.device_get(
      [
        jax.tree.map(jnp.subtract, old, new)
        for old, new in (
          (state.generator, after.generator),
          (state.discriminator, after.discriminator),
        )
      ]
    )

  def near(exact, sent):
    assert sent.dtype == np.float32 and np.abs(sent).max() > 0
    np.testing.assert_allclose(
      sent, exact, atol=4 * 2.0**-8 * np.abs(exact).max() + 1e-7
    )  # four roundings of 2^-9 and their sum's

  jax.tree.map(near, changes['float32'], changes['bfloat16'])


def test_hidden_frames_reach_neither_the_network_nor_the_loss_of_the_others(batch):
  """Changing hidden frames' pixels changes the loss only through their own targets; visible frames add nothing to it."""
  objective = Objective(adversarial_weight=0.0, noise_std=0.0, mask_period=4, mask_length=1)
  hidden = np.asarray(clip_masks(0, 0, 0, (4, SHAPE[0]), objective))
  assert hidden.sum(1).tolist() == [1] * 4  # T = 4: one frame of each clip
  step, state = (
    jax.jit(make_train_step(*networks(), make_optimizer(), objective, seed=0)),
    fresh(make_optimizer()),
  )
  clips, mean_image = batch
  recon_of = lambda clips: float(step(state, clips, mean_image)[1]['rec'])  # noqa: E731
  black, white = (
    np.where(hidden[..., None, None], value, clips).astype(np.uint8) for value in (0, 255)
  )
  generator = networks()[0]
  seen = np.where(hidden[..., None, None, None], 0, network_input(clips, mean_image))
  recon = generator.apply(
    {'params': state.generator, 'batch_stats': state.batch_stats},
    seen,
    train=True,
    mutable=['batch_stats'],
  )[0]
  for changed in (black, white):
    expected = np.square(
      np.where(hidden[..., None, None, None], recon - network_input(changed, mean_image), 0)
    ).mean()
    np.testing.assert_allclose(recon_of(changed), expected, rtol=1e-4)


def test_batch_that_does_not_divide_is_named():
  with pytest.raises(
    ValueError, match=r'batch size \(=6\) must be divisible by the number of devices \(=4\)'
  ):
    parallel.check_batch_size(6, 4)


def test_training_lowers_the_loss(batch):
  optimizer = make_optimizer(learning_rate=1e-2)
  step = jax.jit(make_train_step(*networks(), optimizer, Objective(), seed=0))
  state, first = step(fresh(optimizer), *batch)
  for _ in range(30):
    state, last = step(state, *batch)
  assert last['rec'] < 0.7 * first['rec'] and int(state.step) == 31
