"""The networks in PyTorch compute what ours compute, from the same weights."""

import contextlib

import jax
import numpy as np
import pytest
from flax import traverse_util

from a3dcae_jax.config.presets import PRESETS
from a3dcae_jax.measuring.programs import Setting, error_program, fresh_state, variables_of


@pytest.fixture
def peer():
  pytest.importorskip('torch', reason='the peer needs torch, which is no dependency')
  from tools import torch_peer

  return torch_peer


def as_it_is(part):
  """Return a program that is not compiled."""
  return part


def test_presets_are_ours(peer):
  assert set(peer.PRESETS) == set(PRESETS)
  for name, ours in PRESETS.items():
    theirs = peer.PRESETS[name]
    assert theirs[:4] == (ours.kind, ours.widths, ours.size_px, ours.window)
    units = (ours.discriminator_units,) if ours.discriminator_units else ()
    assert theirs.discriminator == (*ours.discriminator_widths, *units)


@pytest.mark.parametrize(
  'preset', ['small', 'small6', 'small_conv_ae', 'small_convlstm_ae', 'small_plain_3d']
)
def test_the_errors_of_frames_are_the_same(peer, preset, rng):
  setting = Setting(
    'infer', preset, 2, 'float32', window=PRESETS[preset].window, size_px=64, target_rms=0.0
  )
  weights = traverse_util.flatten_dict(variables_of(fresh_state(setting)), sep='/')
  for name, value in weights.items():  # so that each of them changes the errors
    changed = 2 * value if name.endswith('kernel') else value + rng.uniform(0.1, 0.4, value.shape)
    weights[name] = np.asarray(changed, np.float32)
  clips = rng.integers(0, 256, (2, *setting.clip_shape), np.uint8)
  mean_image = np.full(setting.clip_shape[1:], 0.5, np.float32)
  program = jax.jit(error_program(setting))
  expected = program(traverse_util.unflatten_dict(weights, sep='/'), clips, mean_image)

  sizes = peer.PRESETS[preset]
  net = peer.NETWORKS[sizes.kind](sizes.widths, sizes.window)
  peer.load(net, weights)
  given = (peer.torch.from_numpy(array) for array in (clips[:, None], mean_image))
  score = peer.make_scoring(net, peer.Inputs(*given), as_it_is, contextlib.nullcontext)
  np.testing.assert_allclose(score().numpy(), expected, rtol=1e-4)


@pytest.mark.parametrize('preset', ['tiny', 'small_conv_ae', 'small_convlstm_ae', 'small_plain_3d'])
def test_an_update_changes_all_weights(peer, preset):
  sizes = peer.PRESETS[preset]
  clip_shape = (sizes.window, 32, 48)
  net = peer.NETWORKS[sizes.kind](sizes.widths, sizes.window)
  judge = peer.Discriminator((2, 2, 4), 4, clip_shape) if sizes.discriminator else None
  inputs = peer.Inputs.random(2, clip_shape, 'cpu')
  before = [value.detach().clone() for value in net.parameters()]
  loss = peer.make_update(net, judge, inputs, as_it_is, contextlib.nullcontext)()
  assert loss.isfinite()
  for value, old in zip(net.parameters(), before, strict=True):
    assert not peer.torch.equal(value, old)
