"""The order of frames by their names: numbers, time stamps, gaps, several videos in a folder."""

import pytest

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data.layouts.frame_names import in_order


@pytest.mark.parametrize(
  'names, note',
  [
    (['8.png', '9.png', '10.png', '11.png'], ''),
    (['7.jpg', '08.jpg', '009.jpg'], ''),
    (['0028_rgb.png', '0029_rgb.png'], ''),
    (['cam2_x264_9.png', 'cam2_x264_10.png', 'cam2_x264_11.png'], ''),
    (['frame_9_t_0.360.png', 'frame_10_t_0.400.png', 'frame_11_t_0.440.png'], ''),
    (['shot1.9.png', 'shot1.10.png'], ''),
    ([f'{10 * index}.png' for index in range(30)], 'in steps of 10'),
    (['0000.png', '0033.png', '0067.png', '0100.png'], 'in steps of 33 to 34'),
    (['20240101120000.png', '20240101120003.png', '20240301120000.png'], 'time stamps'),
    (['c1_2024-01-31_23-59-59.png', 'c1_2024-02-01_00-00-00.png'], 'time stamps'),
    (['0001_20240101120000.png', '0002_20240101120009.png', '0003_20240101120010.png'], ''),
    (['11-59-59.png', '12-00-00.png', '12-00-09.png'], 'gap after 12-00-00.png'),
    (['00-00-00.png', '00-00-01.png', '11-00-00.png'], 'gap after 00-00-01.png'),
    (['2024-02-29 23.59.59.png', '2024-03-01 00.00.00.png', '2024-03-02 00.00.00.png'], 'gap'),
    (['1305031102.175304.png', '1305031102.5.png', '1305031103.1.png'], 'time stamps'),
    (['1700000000.png', '1700000001.png', '1700000009.png'], 'gap after 1700000001.png'),
    (['12.040.png', '12.080.png', '13.000.png'], 'time stamps'),
    ([f'{10**40 + index}.png' for index in range(3)], ''),
    (['٣.png', '4.png'], ''),
  ],
)
def test_frames_are_put_in_order(names, note):
  order = in_order(names[::-1])
  assert order.names == names
  assert note in order.note
  assert bool(note) == bool(order.note)


@pytest.mark.parametrize(
  'names, message',
  [
    (['1.png', '2.png', '3.png', '10.png'], 'missing frame numbers: 4, 5, 6, 7, 8, ...; add those'),
    (['0.png', '10.png', '20.png', '40.png'], 'missing frame numbers: 30; add those'),
    (['1.png', '2.png', '9' * 9 + '.png'], 'missing frame numbers: 3, 4, 5, 6, 7, ...; add those'),
    (['1.png', '01.png'], 'frame number 1 occurs twice: 01.png, 1.png'),
    (['00-00-00.png', '00-00-01.png', '23-59-59.png'], '00-00-01.png and 23-59-59.png.*the date'),
    (['-1.png', '0.png', '1.png'], 'number those of one video alike, as 0001.png'),
    (['0.png', '0.25.png', '0.5.png'], 'number those of one video alike, as 0001.png'),
    (['cover.png', '1.png'], 'cover.png: an image without a frame number'),
    (
      ['Abuse001_x264_0.png', 'Abuse001_x264_10.png', 'Abuse002_x264_0.png'],
      r'those of 2 videos.*Abuse001_x264_0.png \(2\), Abuse002_x264_0.png \(1\)',
    ),
    (['a1.png', 'b1.png'], 'those of 2 videos'),
    (['A1.png', 'a2.png'], 'those of 2 videos'),
    (['c1_1700000000.png', 'c1_1700000001.png', 'c2_1700000002.png'], 'those of 2 videos'),
    (
      ['c1_20240101120000.png', 'c1_20240101120001.png', 'c2_20240101120002.png'],
      'those of 2 videos',
    ),
  ],
)
def test_names_without_an_order_are_refused(names, message):
  with pytest.raises(UserError, match=message):
    in_order(names)


def test_huge_steps_need_no_list_of_all_numbers():
  names = [f'{10**17 * index}.png' for index in range(1, 500)]
  assert in_order(names[::-1]).names == names
