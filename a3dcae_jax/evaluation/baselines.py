"""Errors of the baselines of a run."""

import numpy as np
import tqdm

from a3dcae_jax.config import fields
from a3dcae_jax.data.frame_cache import Split
from a3dcae_jax.data.windows import TestWindows
from a3dcae_jax.evaluation.calibration import InputStatistics
from a3dcae_jax.evaluation.program import ScoringRecipe
from a3dcae_jax.evaluation.scorer import MeanInputScorer
from a3dcae_jax.evaluation.window_errors import shared_window_errors, window_list
from a3dcae_jax.scoring.assemble import frame_vector
from a3dcae_jax.scoring.baselines import baseline_errors

FLOW_BASELINE = 'mean_flow_distance'


def frame_baselines(
  options: fields.Input, split: Split, inputs: InputStatistics, ids: np.ndarray
) -> dict[str, np.ndarray]:
  """Return the errors of the baselines on frames, name -> float64 [N].

  Args:
    options: the config's `input`. Runs on normalised frames have one more baseline.
    split: the test split.
    inputs: input statistics of the run.
    ids: int32 [V], mean image id of each test video.
  """
  target_rms = 0.0 if options.kind == 'flow' else options.target_rms
  frames = len(split.frames)
  with tqdm.tqdm(desc='baselines', total=frames, unit='frame', dynamic_ncols=True) as bar:
    return baseline_errors(
      split.frames,
      split.videos,
      inputs.frame_means,
      ids,
      target_rms=target_rms,
      on_frame=bar.update,
    )


def flow_baseline(
  recipe: ScoringRecipe,
  inputs: InputStatistics,
  split: Split,
  windows: TestWindows,
  ids: np.ndarray,
) -> dict[str, np.ndarray]:
  """Return the errors of the baseline on flow, {`FLOW_BASELINE`: float64 [N]}.

  The error is the mean over pixels of (flow - mean flow)^2. A network that always reconstructs the
  mean flow would have this error. In a pod every process calls this.
  """
  scorer = MeanInputScorer(recipe, inputs.input_means, windows.keep.shape[1])
  errors = shared_window_errors(
    scorer,
    split.frames,
    window_list(windows, split, ids),
    batch_size=recipe.eval.batch_size,
    progress='flow baseline',
  )
  return {FLOW_BASELINE: frame_vector(errors, windows.rows, windows.keep, len(split.frames))}
