"""A bundle with random parameters, to measure how fast a detector of its size is."""

import functools
import pathlib

import numpy as np

from a3dcae_jax.config import fields
from a3dcae_jax.data.synthetic import SceneSpec, background
from a3dcae_jax.evaluation.program import ScoringRecipe, scoring_program, scoring_weights
from a3dcae_jax.measuring.programs import Setting, fresh_state, model_of
from a3dcae_jax.models.inputs import network_input
from a3dcae_jax.serving.artefact import export_program
from a3dcae_jax.serving.bundle import write_bundle

FRAMES_PER_S = 25.0


def write_random_bundle(folder: pathlib.Path, setting: Setting) -> None:
  """Write a bundle of whole frames whose windows lie back to back, as in the paper.

  Args:
    folder: folder of the bundle.
    setting: preset, data type, window, size and normalisation; the other fields are not used.
  """
  prepare = functools.partial(network_input, target_rms=setting.target_rms)
  recipe = ScoringRecipe(model_of(setting), prepare, fields.Loss(), fields.Eval())
  weights = {
    name: np.asarray(array) for name, array in scoring_weights(fresh_state(setting)).items()
  }
  scene = background(SceneSpec(height=setting.size, width=setting.size), seed=0)
  mean_image = np.asarray(scene, np.float32) / 255
  program = export_program(
    scoring_program(recipe, 'cpu'),
    scoring_program(recipe, 'accelerator'),
    weights,
    mean_image,
    window=setting.window,
    dtype='uint8',
  )
  write_bundle(
    folder,
    models={'uint8': program},
    weights=weights,
    mean_image=mean_image,
    window=setting.window,
    stride=1,
    details={
      'calibration': _no_calibration(setting.window),
      'stream': {'threshold': 1.0},
      'events': {'frames_per_s': FRAMES_PER_S},
    },
  )


def _no_calibration(window: int) -> dict:
  """Return a calibration that leaves errors as they are."""
  return {
    'per_position': False,
    'position_mean': [1.0] * window,
    'mean': 0.0,
    'std': 1.0,
    'step_frames': 0,
    'smoothing_frames': 5.0,
    'smoothing_mode': 'causal',
    'threshold': 1.0,
  }
