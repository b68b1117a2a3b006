"""Boxes from CSV files: scale, order, and one line for each fault."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.objects.box_csv import read_boxes
from tests.properties import hundred

HEADER = 'video,frame,x1,y1,x2,y2,score,class'


def video(name, num_frames):
  return {'name': name, 'num_frames': num_frames, 'source_size': [100, 200]}


INDEX = {
  'height': 50,
  'width': 50,
  'splits': {
    'train': {'videos': [video('01', 5), video('walk', 5)]},
    'test': {'videos': [video('01', 4), video('02', 3)]},
  },
}


def write(tmp_path, *rows, header=HEADER):
  path = tmp_path / 'boxes.csv'
  path.write_text('\n'.join([header, *rows]) + '\n')
  return path


def test_boxes_are_scaled_to_the_cache_and_ordered_by_frame(tmp_path):
  path = write(
    tmp_path,
    '02,1,0,0,100,50,0.5,3',
    'test/01,3,20,10,40,30,1,0',
    'train/01,3,20,10,40,30,1,0',
    'walk,0,20,10,40,30,1,0',
    '',
    '02,0,-5,0,300,50,0.25,1',
  )
  boxes = read_boxes(path, INDEX, 'test')
  assert boxes.frame.tolist() == [3, 4, 5]
  np.testing.assert_allclose(boxes.corners, [[5, 5, 10, 15], [0, 0, 50, 25], [0, 0, 25, 25]])
  np.testing.assert_allclose(boxes.score, [1, 0.25, 0.5])
  assert boxes.label.tolist() == [0, 1, 3]
  assert read_boxes(path, INDEX, 'train').frame.tolist() == [3, 5]


def test_a_file_without_rows_has_no_boxes(tmp_path):
  assert read_boxes(write(tmp_path), INDEX, 'test').corners.shape == (0, 4)


@pytest.mark.parametrize(
  'row, message',
  [
    ('03,0,0,0,9,9,1,0', "row 2: video '03' is not in the frame cache"),
    ('01,0,0,0,9,9,1,0', "row 2: video '01' is in both splits: write train/ or test/"),
    ('02,3,0,0,9,9,1,0', "row 2: frame '3' is not a whole number from 0 to 2"),
    ('02,0.5,0,0,9,9,1,0', "row 2: frame '0.5' is not a whole"),
    ('02,0,a,0,9,9,1,0', "row 2: x1 'a' is not a finite number"),
    ('02,0,nan,0,9,9,1,0', "row 2: x1 'nan' is not a finite number"),
    ('02,0,9,0,9,9,1,0', 'row 2: .*x2 > x1'),
    ('02,0,210,0,220,9,1,0', 'row 2: the box .* is outside the video, which is 200x100'),
    ('02,0,0,0,9,9,1.5,0', 'row 2: score 1.5 is not between 0 and 1'),
    ('02,0,0,0,9,9,1,-1', "row 2: class '-1' is not a whole number"),
    ('02,0,0,0,9,9,1', 'row 2: 7 values, it must have 8'),
  ],
)
def test_a_fault_has_one_line_with_file_and_row(tmp_path, row, message):
  with pytest.raises(UserError, match=message) as error:
    read_boxes(write(tmp_path, row), INDEX, 'test')
  assert 'boxes.csv' in str(error.value)
  assert len(str(error.value).splitlines()) == 1


def test_all_faults_are_reported_ten_at_most(tmp_path):
  with pytest.raises(UserError) as error:
    read_boxes(write(tmp_path, *['02,9,0,0,9,9,1,0'] * 12), INDEX, 'test')
  lines = str(error.value).splitlines()
  assert len(lines) == 11
  assert '2 more faults' in lines[-1]


def test_another_header_is_shown_beside_the_right_one(tmp_path):
  with pytest.raises(UserError, match=f"row 1 is 'video,frame', it must be {HEADER}"):
    read_boxes(write(tmp_path, header='video,frame'), INDEX, 'test')


@pytest.mark.parametrize('delimiter', [',', ';', '\t', ' '])
@pytest.mark.parametrize('encoding', ['utf-8-sig', 'utf-16', 'latin-1'])
def test_boxes_with_every_delimiter_and_encoding(tmp_path, delimiter, encoding):
  text = f'{HEADER}\n02,1,0,0,100,50,0.5,3\n'.replace(',', delimiter)
  (tmp_path / 'boxes.csv').write_bytes(text.encode(encoding))
  assert read_boxes(tmp_path / 'boxes.csv', INDEX, 'test').frame.tolist() == [5]


_CELLS = st.one_of(
  st.sampled_from(['01', '02', 'test/01', 'walk', '0', '1', '-1', '1e9', 'nan', 'x', '', '0.5']),
  st.integers(-300, 300).map(str),
  st.text(max_size=3),
)
_ROW = st.tuples(
  st.sampled_from(['02', 'test/01', 'walk']),
  st.sampled_from(['0', '1', '2.0']),
  st.integers(-20, 150).map(str),
  st.integers(-20, 60).map(str),
  st.integers(0, 300).map(str),
  st.integers(0, 200).map(str),
  st.sampled_from(['0', '0.5', '1']),
  st.sampled_from(['0', '7']),
)
_ROWS = st.lists((st.lists(_CELLS, min_size=6, max_size=9) | _ROW).map(','.join), max_size=4)
CONTENTS = st.one_of(
  st.binary(max_size=80),
  _ROWS.map(lambda rows: '\n'.join([HEADER, *rows]).encode('utf-8', 'replace')),
)


@hundred
@given(content=CONTENTS)
def test_any_bytes_are_read_or_refused(tmp_path, content):
  path = tmp_path / 'boxes.csv'
  path.write_bytes(content)
  try:
    boxes = read_boxes(path, INDEX, 'test')
  except UserError as error:
    assert str(path) in str(error)
  else:
    assert np.isfinite(boxes.corners).all()


def test_files_that_cannot_be_read_are_named(tmp_path):
  with pytest.raises(UserError, match='absent.csv does not exist'):
    read_boxes(tmp_path / 'absent.csv', INDEX, 'test')
  (tmp_path / 'boxes.csv').write_bytes(b'\xff\xfe\x00')
  with pytest.raises(UserError, match='boxes.csv is not text'):
    read_boxes(tmp_path / 'boxes.csv', INDEX, 'test')
