"""Ignored regions from polygons, and what is wrong with them."""

import json

import numpy as np
import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.watching.masks import make_mask, read_masks, read_polygons
from a3dcae_jax.watching.sources import find_sources


def test_polygons_hold_for_any_size(tmp_path):
  path = tmp_path / 'fence.json'
  path.write_text(json.dumps({'polygons': [[[0, 0.5], [0.25, 0.5], [0.25, 1], [0, 1]]]}))
  masks = read_masks([f'in={path}'], find_sources(['in=-']))
  expected = np.zeros((20, 40), bool)
  expected[10:, :10] = True
  frame = np.full((20, 40), 7, np.uint8)
  covered = make_mask(masks['in'], 20, 40, None).covered(frame)
  assert ((covered == 128) == expected).mean() > 0.97


@pytest.mark.parametrize(
  'content, words',
  [
    ('nothing', 'JSON'),
    ('{"polygon": []}', '"polygons" is missing or empty'),
    ('{"polygons": [[[0, 0], [1, 1]]]}', 'polygon 1 must be a list of at least 3 points'),
    ('{"polygons": [[[0, 0], [1, 1], [3]]]}', r'polygon 1: a point is \[3\]'),
    ('{"polygons": [[[0, 0], [1, 1], ["a", 1]]]}', 'it must be \\[x, y\\]'),
    ('{"polygons": [[[0, 0], [640, 0], [0, 360]]]}', 'divide pixels by'),
    ('{"polygons": [[[0, 0], [NaN, 0], [0, 1]]]}', 'shares from 0 to 1'),
  ],
)
def test_wrong_polygons_are_named_in_one_line(tmp_path, content, words):
  path = tmp_path / 'fence.json'
  path.write_text(content)
  with pytest.raises(UserError, match=words) as caught:
    read_polygons(path)
  assert str(path) in str(caught.value)
  assert '\n' not in str(caught.value)


def test_polygons_that_cover_everything_are_refused(tmp_path):
  path = tmp_path / 'all.json'
  path.write_text('{"polygons": [[[0, 0], [1, 0], [1, 1], [0, 1]]]}')
  with pytest.raises(UserError, match='all of the picture would be ignored'):
    read_masks([str(path)], find_sources(['-']))
