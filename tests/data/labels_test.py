"""Label files of every encoding, delimiter, shape and type are read, or refused with the cause."""

import io
import json
import math
import unicodedata

import numpy as np
import pytest
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.ground_truth import intervals_of, read_intervals, read_tracks
from a3dcae_jax.data.layouts.intervals import read_mat, read_matlab_script
from a3dcae_jax.data.layouts.numpy_file import read_array, read_labels
from tests.data.dummy_sets import cells_of
from tests.properties import hundred

EXPECTED = {'01': [(10, 20)], 'caméra': [(3, 5)]}
TABLE = 'video,start,end\n01,10,20\ncaméra,3,5\n'


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'latin-1'])
@pytest.mark.parametrize('delimiter', [',', ';', '\t', ' ', ', ', ' ; '])
@pytest.mark.parametrize('newline', ['\n', '\r\n', '\r'])
def test_a_table_in_every_encoding_and_with_every_delimiter(tmp_path, encoding, delimiter, newline):
  text = TABLE.replace(',', delimiter).replace('\n', newline)
  (tmp_path / 'labels.csv').write_bytes(text.encode(encoding))
  assert read_intervals(tmp_path / 'labels.csv') == EXPECTED


@pytest.mark.parametrize(
  'text',
  [
    TABLE,
    TABLE.upper().replace('CAMÉRA', 'caméra'),
    'note,end,video,start\n,20,01,10\n,5,caméra,3\n',
    '\n01,10,20\n\ncaméra,3.0,5.0\n,,\n',
    '01 10 20\ncaméra 3 5',
    '"01";"10";"20"\n"caméra";"3";"5"\n',
    '01  Abuse  11  20  -1  -1\ncaméra  Arson  4  5  -1  -1\n',
  ],
)
def test_headers_and_shapes_of_tables(tmp_path, text):
  (tmp_path / 'labels.txt').write_text(text)
  assert read_intervals(tmp_path / 'labels.txt') == EXPECTED


def test_ucf_crimes_rows_have_two_intervals_or_none(tmp_path):
  text = 'a.mp4 Abuse 11 20 31 40\nnormal.mp4 Normal -1 -1 -1 -1\n'
  (tmp_path / 'labels.txt').write_text(text)
  found = read_intervals(tmp_path / 'labels.txt')
  assert found == {'a.mp4': [(10, 20), (30, 40)]}
  assert intervals_of('labels.txt', found, ['normal', 'a']) == {'a': [(10, 20), (30, 40)]}


@pytest.mark.parametrize('numbers', ['0 20 -1 -1', '20 11 -1 -1', '5 9 -1 4'])
def test_an_interval_of_ucf_crime_that_is_none_is_named_as_it_is_written(tmp_path, numbers):
  (tmp_path / 'labels.txt').write_text(f'a.mp4 Abuse {numbers}\n')
  with pytest.raises(
    UserError, match='line 1: .* must be a first and a last frame, counted from 1'
  ):
    read_intervals(tmp_path / 'labels.txt')


@pytest.mark.parametrize('name', ['labels.json', 'LABELS.JSON'])
@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'utf-16', 'latin-1'])
@pytest.mark.parametrize(
  'value',
  [
    {'01': [[10, 20]], 'caméra': [[3, 5]]},
    {'01': [10, 20], 'caméra': [[3, 5.0]], 'normal': []},
    [{'video': '01', 'start': 10, 'end': 20}, {'video': 'caméra', 'start': '3', 'end': 5}],
  ],
)
def test_json_in_every_form_and_encoding(tmp_path, name, encoding, value):
  text = json.dumps(value, ensure_ascii=False)
  (tmp_path / name).write_bytes(text.encode(encoding))
  assert read_intervals(tmp_path / name) == EXPECTED


@pytest.mark.parametrize(
  'name, content, message',
  [
    ('a.csv', b'', 'first line must name video,start,end'),
    ('a.csv', b'video,from,to\n', "must name video,start,end; it is 'video,from,to'"),
    ('a.csv', b'video,start,end\n01,10\n', 'line 2: 2 values, but 3 columns'),
    ('a.csv', b'video,start,end\n01,1,2,5,6\n', 'line 2: 5 values, but 3 columns'),
    ('a.csv', b'01,10,20\n01,10\n', 'line 2: 2 values'),
    ('a.csv', b'video,start,end\n\n01,10,x\n', "line 3: .*whole numbers, got '10', 'x'"),
    ('a.csv', b'video,start,end\n01,1.5,2\n', 'whole numbers'),
    ('a.csv', b'video,start,end\n01,nan,inf\n', 'whole numbers'),
    ('a.csv', b'video,start,end\n01,20,10\n', '20..10 is empty'),
    ('a.csv', b'PK\x03\x04 a workbook', 'ZIP archive.* save it as CSV'),
    ('a.csv', b'v\0i\0d\0e\0o\0', 'is not text'),
    ('a.json', b'7', '7 is not a list'),
    ('a.json', b'{"01": [[10, 20, 1]]}', 'has 3 values'),
    ('a.json', b'{"01": [10, 20], "01": [30, 40]}', 'a name occurs twice'),
    ('a.json', b'{"01": [[true, 20]]}', 'whole numbers, got True, 20'),
    ('a.json', b'[{"video": "01", "start": 1}]', "has no 'end'"),
    ('a.json', b'[1]', '1 is not an object'),
    ('a.json', b'[' * 100_000, 'not a list'),
    ('a.json', b'{"01": [[1, 1' + 400 * b'0' + b']]}', 'whole numbers'),
  ],
)
def test_a_label_file_that_cannot_be_read_is_refused_with_the_cause(
  tmp_path, name, content, message
):
  (tmp_path / name).write_bytes(content)
  with pytest.raises(UserError, match=message) as error:
    read_intervals(tmp_path / name)
  assert name in str(error.value)
  assert len(str(error.value).splitlines()) == 1


def test_a_label_file_that_is_not_there_or_a_folder_is_named(tmp_path):
  for name in ('none.csv', 'none.json', '.'):
    with pytest.raises(UserError, match='does not exist|must be a file, it is a folder'):
      read_intervals(tmp_path / name)


@pytest.mark.parametrize('given', ['Cam-É', unicodedata.normalize('NFD', 'cam-é'), 'CAM-É.mp4'])
def test_names_match_in_every_letter_case_and_unicode_form(given):
  assert intervals_of('f', {given: [(1, 2)]}, ['cam-é', 'other']) == {'cam-é': [(1, 2)]}


def test_a_name_of_no_video_or_of_two_is_refused():
  with pytest.raises(UserError, match='intervals of c, which is not a test video; there are a, b'):
    intervals_of('f', {'c': [(1, 2)]}, ['a', 'b'])
  with pytest.raises(UserError, match='intervals of CAM'):
    intervals_of('f', {'CAM': [(1, 2)]}, ['cam', 'Cam'])
  assert intervals_of('f', {'Cam': [(1, 2)]}, ['cam', 'Cam']) == {'Cam': [(1, 2)]}


@pytest.mark.parametrize('delimiter', [',', ' ', ';'])
def test_tracks_are_six_numbers(tmp_path, delimiter):
  path = tmp_path / 'tracks.txt'
  path.write_text('1,2,3,4.5,5,6\n'.replace(',', delimiter))
  assert read_tracks(path) == ((1, 2, 3.0, 4.5, 5.0, 6.0),)
  for line in ('1,2,3\n', '1,2,3,4,5,x\n', '1,2.5,3,4,5,6\n', '1,2,3,4,5,nan\n'):
    path.write_text(line)
    with pytest.raises(UserError, match='tracks.txt, line 1'):
      read_tracks(path)


@pytest.mark.parametrize('shape', [(-1,), (1, -1), (-1, 1)])
@pytest.mark.parametrize('dtype', [bool, np.uint8, np.int64, np.float32])
@pytest.mark.parametrize('abnormal', [1, 255])
def test_rows_of_labels_of_every_shape_and_type(tmp_path, shape, dtype, abnormal):
  labels = np.asarray([0, 1, 1, 0])
  with np.errstate(all='ignore'):
    np.save(tmp_path / 'a.npy', (labels * abnormal).astype(dtype).reshape(shape))
  read = read_labels(tmp_path / 'a.npy')
  assert read.dtype == np.uint8
  np.testing.assert_array_equal(read, labels)


def saved(value, **options):
  buffer = io.BytesIO()
  np.save(buffer, value, **options)
  return buffer.getvalue()


def saved_archive(value):
  buffer = io.BytesIO()
  np.savez(buffer, labels=value)
  return buffer.getvalue()


@pytest.mark.parametrize(
  'content, message',
  [
    (b'', 'is empty'),
    (b'not an array', 'is not a .npy file'),
    (saved(np.zeros(9))[:-8], 'cannot be read as an array'),
    (saved_archive(np.zeros(9)), 'is a .npz archive'),
    (saved({'a': 1}, allow_pickle=True), 'cannot be read as an array'),
    (saved(np.asarray(['0', '1'])), 'must hold numbers'),
    (saved(np.zeros(3, complex)), 'must hold numbers'),
    (saved(np.uint8(1)), r'its shape is \[\]'),
    (saved(np.zeros((2, 5))), r'its shape is \[2, 5\]'),
    (saved(np.zeros((1, 1, 5))), r'its shape is \[1, 1, 5\]'),
    (saved(np.asarray([0, 1, 255])), 'it has 0, 1, 255'),
    (saved(np.asarray([0, np.nan])), 'it has 0, nan'),
    (saved(np.asarray([-1, 1])), 'it has -1, 1'),
  ],
)
def test_a_npy_file_that_is_no_row_of_labels_is_refused_with_the_cause(tmp_path, content, message):
  (tmp_path / 'a.npy').write_bytes(content)
  with pytest.raises(UserError, match=f'a.npy.* {message}' if message else 'a.npy'):
    read_labels(tmp_path / 'a.npy')


@pytest.mark.parametrize(
  'cell, expected',
  [
    ([[61], [180]], [(60, 180)]),
    ([[61, 180]], [(60, 180)]),
    ([61, 180], [(60, 180)]),
    ([[61, 100], [80, 120]], [(60, 80), (99, 120)]),  # two columns
    ([[61, 80], [100, 120]], [(60, 80), (99, 120)]),  # two rows
    ([[1, 3, 5], [2, 4, 6]], [(0, 2), (2, 4), (4, 6)]),
    ([[1, 2], [3, 4], [5, 6], [7, 8]], [(0, 2), (2, 4), (4, 6), (6, 8)]),
    (np.zeros((0, 0)), []),
  ],
)
def test_intervals_as_columns_and_as_rows_of_a_mat_file(tmp_path, cell, expected):
  scipy.io.savemat(tmp_path / 'a.mat', {'gt': cells_of([np.asarray(cell)])})
  assert read_mat(tmp_path / 'a.mat') == [expected]


@pytest.mark.parametrize(
  'cell, message',
  [
    ([1, 2, 3], 'must be 2 x N or N x 2'),
    ([[[1, 2]], [[3, 4]]], 'must be 2 x N or N x 2'),
    ([[1.5, 2]], 'whole numbers'),
    ([[math.nan, 2]], 'whole numbers'),
    ([[5, 9], [7, 8]], 'put its intervals in order'),
  ],
)
def test_a_mat_file_of_other_content_is_refused_with_the_cause(tmp_path, cell, message):
  scipy.io.savemat(tmp_path / 'a.mat', {'gt': cells_of([np.asarray([[1], [2]]), np.asarray(cell)])})
  with pytest.raises(UserError, match=f'a.mat, video 2: .*{message}'):
    read_mat(tmp_path / 'a.mat')


def test_a_mat_file_of_matlab_7_3_is_named(tmp_path):
  header = b'MATLAB 7.3 MAT-file, Platform: GLNXA64'.ljust(126) + b'IM'
  (tmp_path / 'a.mat').write_bytes(header + bytes(384) + b'\x89HDF\r\n\x1a\n')
  with pytest.raises(UserError, match='MATLAB 7.3 file; save it again'):
    read_mat(tmp_path / 'a.mat')


# For every content of a file, a reader returns, or raises a `UserError`.

_NUMBERS = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.text(max_size=3))
_JSON = st.recursive(
  _NUMBERS,
  lambda inner: (
    st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(['video', 'start', 'end', '01']), inner, max_size=3)
  ),
  max_leaves=8,
)
_TEXT = st.text(alphabet='video,startend;\t \n\r"0123456789.-x\0é', max_size=60)
_CELLS = st.sampled_from(['01', 'a.mp4', 'x', '', '0', '1', '5', '-1', '2.0', '1e3', 'nan', '"'])
_NUMBERS_OF_FRAMES = st.sampled_from(['0', '1', '5', '2.0', '-1', '90'])
_GOOD_CELLS = st.tuples(_CELLS, *[_NUMBERS_OF_FRAMES] * 2) | st.tuples(*[_NUMBERS_OF_FRAMES] * 6)
_ANY_CELLS = st.lists(_CELLS, min_size=2, max_size=7)
_ROWS = st.lists((_GOOD_CELLS | _ANY_CELLS).map(','.join), max_size=4)
_TEXTS = st.tuples(
  st.sampled_from(['', 'video,start,end\n', 'video start end\n']),
  _TEXT | _ROWS.map('\n'.join),
  st.sampled_from(['utf-8', 'utf-8-sig', 'utf-16', 'utf-16-le', 'latin-1']),
).map(lambda parts: (parts[0] + parts[1]).encode(parts[2]))
_MAT = io.BytesIO()
scipy.io.savemat(_MAT, {'gt': cells_of([np.asarray([[1], [2]]), np.asarray([[1, 2], [3, 4]])])})
_PACKED_MAT = io.BytesIO()
scipy.io.savemat(_PACKED_MAT, {'gt': cells_of([np.asarray([[1], [2]])])}, do_compression=True)


@st.composite
def _damaged(draw, whole):
  """Draw the bytes of a file that is cut off or has other bytes in some places."""
  content = bytearray(whole[: draw(st.integers(0, len(whole)))] if draw(st.booleans()) else whole)
  for _ in range(draw(st.integers(0, 3))):
    if content:
      place = draw(st.integers(0, len(content) - 1))
      content[place] = draw(st.integers(0, 255))
  return bytes(content)


READERS = {
  'csv': (read_intervals, 'a.csv', st.one_of(_TEXTS, st.binary(max_size=80))),
  'json': (
    read_intervals,
    'a.json',
    st.one_of(_JSON.map(lambda value: json.dumps(value).encode()), _TEXTS, st.binary(max_size=80)),
  ),
  'tracks': (read_tracks, 'a.txt', st.one_of(_TEXTS, st.binary(max_size=80))),
  'script': (
    read_matlab_script,
    'a.m',
    _TEXT.map(lambda text: f'gt_frame = [{text}];'.encode()) | st.binary(max_size=80),
  ),
  'labels': (read_labels, 'a.npy', _damaged(saved(np.zeros(5)))),
  'array': (read_array, 'a.npy', _damaged(saved(np.zeros((2, 3), np.uint8)))),
  'mat': (read_mat, 'a.mat', _damaged(_MAT.getvalue()) | _damaged(_PACKED_MAT.getvalue())),
}


@pytest.mark.parametrize('kind', READERS)
def test_a_reader_returns_or_raises_a_user_error_for_all_bytes(tmp_path, kind):
  read, name, contents = READERS[kind]

  @hundred
  @given(content=contents)
  def check(content):
    (tmp_path / name).write_bytes(content)
    try:
      read(tmp_path / name)
    except UserError as error:
      assert str(tmp_path / name) in str(error)
      assert len(str(error).splitlines()) == 1

  check()
