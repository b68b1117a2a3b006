"""The measured programs of objects, and the same networks in PyTorch."""

import jax
import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.measuring import object_programs
from a3dcae_jax.measuring.costs import model_flops
from a3dcae_jax.measuring.parts import parts_of
from a3dcae_jax.measuring.programs import Setting, check_setting, settings_of


def settings(*modes, batch=2):
  return settings_of(['small'], modes, [str(batch)], dtype='float32')


def test_objects_have_sizes_of_their_own_whatever_the_preset():
  found = settings_of(['paper', 'small'], ['object_infer', 'infer'], ['3'], dtype='float32')
  assert [(setting.mode, setting.preset) for setting in found] == [
    ('object_infer', 'best'),
    ('infer', 'paper'),
    ('infer', 'small'),
  ]
  options = object_programs.object_settings(found[0])
  assert found[0].clip_shape == (options.clips.window, *(options.objects.crop_px,) * 2)


def test_a_preset_of_frames_is_refused_for_objects():
  with pytest.raises(UserError, match="--preset 'paper'"):
    check_setting(Setting('object_infer', 'paper', 1))


def test_the_shapes_of_the_arguments_fit_the_programs():
  infer, train = settings('object_infer', 'object_train')
  parts = parts_of(infer)
  measured = jax.eval_shape(parts.program, parts.carry, parts.batch, *parts.shared)
  assert measured.shape == (2, 5)
  parts = parts_of(train)
  state, metrics = jax.eval_shape(parts.program, parts.carry, parts.batch, *parts.shared)
  assert jax.tree.structure(state) == jax.tree.structure(parts.carry)
  assert metrics['rec'].shape == ()
  (detect,) = settings('object_detect')
  parts = parts_of(detect)
  corners, *_, worst, zscores = jax.eval_shape(
    parts.program, parts.carry, parts.batch, *parts.shared
  )
  most = object_programs.object_settings(detect).objects.max_per_frame
  assert corners.shape == (2, most, 4) and worst.shape == (2,) and zscores.shape == (2, most, 3)


def test_flops_of_an_object_by_hand():
  (infer,) = settings('object_infer', batch=1)
  # Taps on padding do not count: along an axis of n, a kernel of 3 reads 3 n - 2 pixels.
  seen = {n: 3 * n - 2 for n in (4, 8, 16, 32)}
  frames = 8 * seen[32] ** 2
  second = seen[8] * seen[16] ** 2
  third = seen[4] * seen[8] ** 2
  convolutions = 2 * 16 * frames + 2 * 16 * 32 * second + 2 * 32 * 64 * third
  flops = model_flops(infer)
  # Cropping and the speed of the objects have some products, too.
  assert 2 * 2 * convolutions < flops < 1.2 * 2 * 2 * convolutions


def test_pytorch_computes_the_same_errors(rng):
  torch = pytest.importorskip('torch', reason='the peer needs torch, which is no dependency')
  from tools import torch_object_peer as peer

  (infer,) = settings('object_infer', batch=3)
  weights = object_programs.object_carry(infer)
  for name, value in weights.items():  # so that running statistics and scales count
    if not name.endswith('kernel'):
      weights[name] = np.asarray(value + rng.uniform(0.1, 0.4, value.shape), np.float32)
  (rows, corners), frames = object_programs.object_batch(infer)
  program = jax.jit(object_programs.object_error_program(infer))
  measured = np.asarray(program(weights, (rows, corners), frames))

  net = peer.Streams().eval()
  peer.load(net, {name: np.asarray(value) for name, value in weights.items()})
  given = [torch.from_numpy(np.array(array)) for array in (frames, rows, corners)]
  given[1] = given[1].long()
  for cut in peer.CROPS.values():
    with torch.inference_mode():
      found = peer.object_errors(net, peer.network_input(cut(*given, infer.size)))
    np.testing.assert_allclose(found.numpy(), measured[:, :4], rtol=1e-4, atol=1e-6)
