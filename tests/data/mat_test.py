"""Cell arrays read one entry at a time: the same as scipy reads whole."""

import numpy as np
import pytest
import scipy.io

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.mat import read_cells


@pytest.fixture
def cells(rng):
  """Entries of several types and sizes, an empty one among them; small ones stand in their tags."""
  entries = [
    rng.integers(0, 2, (36, 64), dtype=np.uint8),
    rng.normal(size=(3, 5)),
    np.asarray([[7]]),
    np.asarray([[1, 9], [2, 12]], np.int16),
    np.zeros((0, 0)),
    rng.integers(0, 2, (5, 3)).astype(bool),
    np.float32([[1.5, 2.5]]),
  ]
  array = np.empty((1, len(entries)), object)
  array[0] = entries
  return array


@pytest.mark.parametrize('compress', [True, False])
def test_as_scipy_reads_it(tmp_path, cells, compress):
  scipy.io.savemat(
    tmp_path / 'a.mat',
    {'before': np.arange(100), 'gt': cells, 'after': np.arange(3)},
    do_compression=compress,
  )
  expected = scipy.io.loadmat(tmp_path / 'a.mat')['gt'].ravel()
  got = list(read_cells(tmp_path / 'a.mat', 'gt', 'intervals'))
  assert len(got) == len(expected)
  for one, other in zip(got, expected, strict=True):
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize('compress', [True, False])
@pytest.mark.parametrize(
  'damage, message',
  [
    (lambda data: data[: len(data) // 2], 'holds no intervals named gt'),
    (lambda data: b'nothing of the kind' * 20, 'not a MATLAB 5 file'),
    (lambda data: data[:130], 'holds no intervals named gt'),
    (lambda data: data[:128], 'there is no such cell array'),
    (lambda data: data[:200] + bytes(len(data) - 200), 'holds no intervals named gt'),
  ],
)
def test_other_files_are_named(tmp_path, cells, compress, damage, message):
  path = tmp_path / 'a.mat'
  scipy.io.savemat(path, {'gt': cells}, do_compression=compress)
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(UserError, match=f'a.mat .*{message}'):
    list(read_cells(path, 'gt', 'intervals'))


def test_a_file_without_the_variable(tmp_path):
  scipy.io.savemat(tmp_path / 'a.mat', {'gt': np.arange(3)})
  with pytest.raises(UserError, match='there is no such cell array'):
    list(read_cells(tmp_path / 'a.mat', 'gt', 'intervals'))
