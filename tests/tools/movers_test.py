"""Movers a little stranger than walkers: found, measured and moved as they say."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.frame_cache import FrameCache
from a3dcae_jax.data.ingest import prepare_cache
from tools.validation import movers
from tools.validation.pseudo_anomalies import write_pseudo_cache
from tools.validation.sprites import paste

SPEED, MEAN = 0.5, np.full((64, 64), 100.0)


@pytest.fixture(scope='module')
def street():
  """60 frames of one textured person, 5 x 12 px, who walks half a pixel a frame to the right."""
  person, frames = (
    np.random.default_rng(0).uniform(0, 60, (12, 5)).astype(np.float32),
    np.full((60, 64, 64), 100, np.uint8),
  )
  for index, frame in enumerate(frames):
    assert paste(frame, person, np.ones_like(person), 30, 10 + SPEED * index)
  return frames


def test_a_walker_is_found_with_its_speed(street):
  walker = movers.find_walker(street, MEAN, np.random.default_rng(1))
  assert walker.velocity == (0.0, SPEED) and walker.pixels.shape == walker.opacity.shape
  assert walker.top_left[0] <= 30 < 42 <= walker.top_left[0] + walker.pixels.shape[1]


@pytest.mark.parametrize('kind', movers.KINDS)
def test_movers_have_their_speed_and_labels(street, kind):
  made, labels = movers.make_rider(street, MEAN, kind, np.random.default_rng(2))
  changed = (made != street).any((1, 2))
  assert changed.any()
  np.testing.assert_array_equal(labels, 0 if kind == 'walker' else changed)


def test_a_skater_outruns_the_walker(street, monkeypatch):
  monkeypatch.setitem(movers.KINDS, 'skater', movers.Kind((2.0, 2.0), (1.0, 1.0)))
  made, labels = movers.make_rider(street, MEAN, 'skater', np.random.default_rng(2))
  difference = np.abs(made.astype(float) - street)
  where = np.asarray(
    [(d.sum(0) * np.arange(64)).sum() / d.sum() if d.any() else np.nan for d in difference]
  )

  def apart(index):
    """Whether the skater is whole, and away from the walker, so that where it is can be measured."""
    walker = int(10 + SPEED * index)
    return (
      not difference[index][:, [0, -1]].any()
      and not difference[index][:, walker - 4 : walker + 10].any()
    )

  inside = [i for i in np.flatnonzero(labels) if apart(i)]
  runs = [i for i in inside if i + 1 in inside]
  assert len(runs) > 5
  np.testing.assert_allclose(
    np.median([where[i + 1] - where[i] for i in runs]), 2 * SPEED, atol=0.1
  )


def test_pasting_at_fractions_moves_the_centre():
  frame, spot = np.zeros((20, 20), np.uint8), np.full((4, 4), 200.0)
  centres = []
  for left in (5.0, 5.25, 5.5, 6.0):
    frame[:] = 0
    assert paste(frame, spot, np.ones((4, 4)), 8, left)
    centres.append((frame.sum(0) * np.arange(20)).sum() / frame.sum())
  np.testing.assert_allclose(np.subtract(centres, centres[0]), (0, 0.25, 0.5, 1.0), atol=0.06)
  assert not paste(frame.copy(), spot, np.ones((4, 4)), 8, -3.5)


def test_an_empty_scene_has_no_walker():
  with pytest.raises(UserError, match='nobody was found walking'):
    movers.find_walker(
      np.full((30, 64, 64), 100, np.uint8), MEAN, np.random.default_rng(0), tries=3
    )


def test_a_cache_of_riders(tmp_path):
  source = prepare_cache(
    'synthetic',
    root='',
    cache_dir=tmp_path / 'caches',
    height=64,
    width=64,
    label_set='',
    options={'num_videos': 2, 'frames_per_video': 60},
  )
  made = FrameCache.open(
    write_pseudo_cache(source, tmp_path / 'pseudo', holdout=1, movers='riders')
  )
  assert [video.name.split('-')[1] for video in made.test.videos] == list(movers.USUAL)
  with pytest.raises(UserError, match="movers 'bats': known are fast, riders"):
    write_pseudo_cache(source, tmp_path / 'other', holdout=1, movers='bats')


def test_who_passes_near_the_camera_is_large_and_below(street):
  made, labels = movers.make_rider(street, MEAN, 'passer', np.random.default_rng(2))
  rows = np.flatnonzero((made != street).any((0, 2)))
  assert labels.any() and rows[0] >= 28 and rows[-1] > 42 + 5  # the walker stands in rows 30 to 42
