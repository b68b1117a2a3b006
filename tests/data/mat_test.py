"""Cell arrays, read one entry at a time, agree with scipy."""

import numpy as np
import pytest
import scipy.io
import scipy.sparse

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.mat import read_cells
from tests.data.dummy_sets import cells_of, damage


@pytest.fixture
def cells(rng):
  """Entries of several types and sizes, also empty ones and ones that fit into tags."""
  entries = [
    rng.integers(0, 2, (36, 64), dtype=np.uint8),
    rng.normal(size=(3, 5)),
    np.asarray([[7]]),
    np.asarray([[1, 9], [2, 12]], np.int16),
    np.zeros((0, 0)),
    rng.integers(0, 2, (5, 3)).astype(bool),
    np.float32([[1.5, 2.5]]),
  ]
  return cells_of(entries)


@pytest.mark.parametrize('compress', [True, False])
def test_entries_equal_those_that_scipy_reads(tmp_path, cells, compress):
  path = tmp_path / 'a.mat'
  variables = {'before': np.arange(100), 'gt': cells, 'after': np.arange(3)}
  scipy.io.savemat(path, variables, do_compression=compress)
  expected = scipy.io.loadmat(path)['gt'].ravel()
  entries = list(read_cells(path, 'gt', 'intervals'))
  assert len(entries) == len(expected)
  for entry, other in zip(entries, expected, strict=True):
    np.testing.assert_array_equal(entry, other)


@pytest.mark.parametrize('compress', [True, False])
@pytest.mark.parametrize(
  'change, message',
  [
    (lambda content: content[: len(content) // 2], 'holds no intervals named gt'),
    (lambda content: b'something else' * 20, 'not a MATLAB 5 file'),
    (lambda content: content[:130], 'holds no intervals named gt'),
    (lambda content: content[:128], 'there is no such cell array, but nothing'),
    (lambda content: content[:200] + bytes(len(content) - 200), 'holds no intervals named gt'),
  ],
)
def test_damaged_and_foreign_files_are_named(tmp_path, cells, compress, change, message):
  path = tmp_path / 'a.mat'
  scipy.io.savemat(path, {'gt': cells}, do_compression=compress)
  damage(path, change)
  with pytest.raises(UserError, match=f'a.mat .*{message}'):
    list(read_cells(path, 'gt', 'intervals'))


def test_a_file_without_the_variable_is_named(tmp_path):
  scipy.io.savemat(tmp_path / 'a.mat', {'gt': np.arange(3), 'GT': cells_of([np.arange(2)])})
  message = 'no such cell array, but gt, which is no cell array, GT; save one of this name'
  with pytest.raises(UserError, match=message):
    list(read_cells(tmp_path / 'a.mat', 'gt', 'intervals'))


@pytest.mark.parametrize(
  'entries, message',
  [
    (cells_of(['5:10']), 'but text, a struct or sparse'),
    (cells_of([np.asarray([(1,)], [('start', object)])]), 'but text, a struct or sparse'),
    (cells_of([cells_of([np.ones(2)])]), 'itself a cell array'),
    (cells_of([scipy.sparse.csc_matrix(np.ones((2, 2)))]), 'not a matrix of numbers'),
    (np.asarray([[1, 2], [3, 4]], object), r'it is \[2, 2\], but one entry per video is \[1, N\]'),
  ],
)
def test_entries_that_are_no_numbers_are_refused(tmp_path, entries, message):
  scipy.io.savemat(tmp_path / 'a.mat', {'gt': entries})
  with pytest.raises(UserError, match=message):
    list(read_cells(tmp_path / 'a.mat', 'gt', 'intervals'))
