"""The compared networks and the ablations: trained, resumed, scored, exported, streamed."""

import shutil

import jax
import numpy as np
import pytest

from a3dcae_jax.config import checked, make_config
from a3dcae_jax.run import export as run_export
from a3dcae_jax.run import session, train
from a3dcae_jax.run.datasets import open_cache
from a3dcae_jax.scoring.tables import read_scores
from a3dcae_jax.serving.bundle import load_bundle
from a3dcae_jax.serving.stream import StreamScorer
from a3dcae_jax.training.checkpoints import Checkpoints, restore_or_init

VARIANTS = (
  'conv_ae',
  'convlstm_ae',
  'plain_3d',
  'six_layers,without_3d_conv',
  'six_layers,without_3d_pool,noise_poisson',
)


def settings_of(folder, variant):
  """Return the settings of a tiny run of a variant."""
  config = make_config(
    'synthetic', f'tiny,{variant}', options={'num_videos': 2, 'frames_per_video': 40}
  )
  values = {'data.root': '', 'data.cache_dir': str(folder / 'caches')}
  config.update_from_flattened_dict(values)
  return checked(config)


def final_state(settings, run):
  """Return the state of a run's newest checkpoint."""
  checkpoints = Checkpoints(run / 'checkpoints')
  state, _ = restore_or_init(checkpoints, lambda: train.fresh_state(settings))
  checkpoints.close()
  return jax.device_get(state)


@pytest.mark.slow
@pytest.mark.parametrize('variant', VARIANTS)
def test_they_train_resume_score_export_and_stream(variant, tmp_path):
  settings = settings_of(tmp_path, variant)
  # Flax's own cells and normalisations promote dtypes.
  with jax.numpy_dtype_promotion('standard'):
    session.train_and_evaluate(settings, tmp_path / 'whole')
    shutil.copytree(tmp_path / 'whole', tmp_path / 'resumed')
    shutil.rmtree(tmp_path / 'resumed' / 'checkpoints' / '4')
    session.train_and_evaluate(settings, tmp_path / 'resumed')  # from update 2
    bundle = tmp_path / 'bundle'
    run_export.export_run(tmp_path / 'whole', bundle)
  whole, resumed = (final_state(settings, tmp_path / name) for name in ('whole', 'resumed'))
  jax.tree.map(np.testing.assert_array_equal, whole, resumed)

  run_export.evaluate_bundle(bundle, tmp_path / 'scored')
  own = read_scores(tmp_path / 'whole' / 'scores.csv')
  assert (tmp_path / 'scored' / 'scores.csv').read_bytes() == (
    tmp_path / 'whole' / 'scores.csv'
  ).read_bytes()
  assert len(own) > 0

  video = open_cache(settings.data).test
  scorer = StreamScorer(load_bundle(bundle))
  for frame in np.asarray(video.frames[:24]):
    scorer.add(frame)
  scores = [each.score for each in scorer.scores()]
  assert scores and np.isfinite(scores).all()
