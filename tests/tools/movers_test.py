"""Movers: walkers are found and measured, and types move as in their table."""

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from tools.validation import movers
from tools.validation.sprites import paste

SPEED = 0.5  # speed of the walker, in pixels per frame
MEAN = np.full((64, 64), 100.0)
COLUMNS = np.arange(64)


@pytest.fixture(scope='module')
def street():
  """60 frames of a textured person of 5 x 12 pixels, who walks to the right."""
  person = np.random.default_rng(0).uniform(0, 60, (12, 5)).astype(np.float32)
  frames = np.full((60, 64, 64), 100, np.uint8)
  for index, frame in enumerate(frames):
    assert paste(frame, person, np.ones_like(person), 30, walker_left(index))
  return frames


def walker_left(index):
  return 10 + SPEED * index


def make_mover(street, kind):
  return movers.make_mover(street, MEAN, kind, np.random.default_rng(2))


def test_a_walker_is_found_with_its_speed(street):
  walker = movers.find_walker(street, MEAN, np.random.default_rng(1))
  assert (walker.speed_y, walker.speed_x) == (0.0, SPEED)
  assert walker.pixels.shape == walker.opacity.shape
  assert walker.top <= 30
  assert walker.top + walker.pixels.shape[1] >= 42


@pytest.mark.parametrize('kind', movers.TYPES)
def test_only_frames_that_a_mover_changes_are_labelled(street, kind):
  made, labels = make_mover(street, kind)
  changed = (made != street).any((1, 2))
  assert changed.any()
  np.testing.assert_array_equal(labels, 0 if kind == 'walker' else changed)


def test_a_skater_is_faster_than_the_walker(street, monkeypatch):
  twice_as_fast = movers.MoverType((2.0, 2.0), (1.0, 1.0))
  monkeypatch.setitem(movers.TYPES, 'skater', twice_as_fast)
  made, labels = make_mover(street, 'skater')
  difference = np.abs(made.astype(float) - street).sum(1)  # [N, W]
  centres = {}
  for index in np.flatnonzero(labels):
    left = int(walker_left(index))
    near_walker = difference[index, left - 4 : left + 10]
    at_edge = difference[index, [0, -1]]
    if not near_walker.any() and not at_edge.any():  # the skater is fully visible
      centres[index] = (difference[index] * COLUMNS).sum() / difference[index].sum()
  speeds = [centres[i + 1] - centres[i] for i in centres if i + 1 in centres]
  assert len(speeds) > 5
  np.testing.assert_allclose(np.median(speeds), 2 * SPEED, atol=0.1)


def test_a_passer_is_large_and_low_in_the_frame(street):
  made, labels = make_mover(street, 'passer')
  rows = np.flatnonzero((made != street).any((0, 2)))
  assert labels.any()
  assert rows[0] >= 28
  assert rows[-1] > 42 + 5  # the walker's feet are in row 41


def test_pasting_at_fractions_of_a_pixel_moves_the_centre():
  spot = np.full((4, 4), 200.0)
  opacity = np.ones((4, 4))
  centres = []
  for left in (5.0, 5.25, 5.5, 6.0):
    frame = np.zeros((20, 20), np.uint8)
    assert paste(frame, spot, opacity, 8, left)
    centres.append((frame.sum(0) * np.arange(20)).sum() / frame.sum())
  moved = np.subtract(centres, centres[0])
  np.testing.assert_allclose(moved, (0, 0.25, 0.5, 1.0), atol=0.06)


def test_a_sprite_that_is_mostly_outside_is_not_pasted():
  frame = np.zeros((20, 20), np.uint8)
  assert not paste(frame, np.full((4, 4), 200.0), np.ones((4, 4)), 8, -3.5)
  assert not frame.any()


def test_an_empty_scene_has_no_walker():
  empty = np.full((30, 64, 64), 100, np.uint8)
  with pytest.raises(UserError, match='no walking person'):
    movers.find_walker(empty, MEAN, np.random.default_rng(0), tries=3)
