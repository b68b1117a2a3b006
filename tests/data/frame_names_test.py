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
    (['a-1.png', 'a0.png', 'a1.png'], 'number those of one video alike, as 0001.png'),
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


@pytest.mark.parametrize(
  'pattern', ['{:04x}.png', '{:02X}.jpg', 'frame_{:x}.png', 'cafe{:03x}.png']
)
def test_hexadecimal_numbers_are_read(pattern):
  names = [pattern.format(number) for number in range(0x8E, 0xB2)]
  shuffled = sorted(names, reverse=True)
  assert in_order(shuffled) == (names, 'frames in the order of hexadecimal numbers')


def test_hexadecimal_numbers_with_gaps_are_refused_with_the_rule():
  names = [f'{number:04x}.png' for number in range(0x8E, 0xB2) if number != 0x99]
  with pytest.raises(UserError, match='^008e.png: names like hexadecimal numbers must count by on'):
    in_order(names)
  with pytest.raises(UserError, match='named like those of'):  # hashes, perhaps
    in_order(['0a3f.png', '9bc1.png', '1234.png'])


def test_letters_that_are_the_same_in_all_names_are_no_digits():
  assert in_order(['fee02.png', 'fee01.png', 'fee03.png']).names[0] == 'fee01.png'
  assert in_order(['a10.png', 'a9.png']).names == ['a9.png', 'a10.png']


@pytest.mark.parametrize('pattern', ['{}.png', 'frame_{}.png', 'shot {}_x.png'])
def test_negative_numbers_are_read_where_others_are_not(pattern):
  names = [pattern.format(number) for number in ('-002', '-001', '000', '001')]
  assert in_order(sorted(names)).names == names
  with pytest.raises(UserError, match='missing frame numbers: -1'):
    in_order([names[0], *names[2:]])


def test_a_minus_in_all_names_is_refused_unless_it_separates_words():
  with pytest.raises(UserError, match='^frame_-002.png: the minus before the number may be a sign'):
    in_order(['frame_-002.png', 'frame_-001.png'])
  assert in_order(['cam-002.png', 'cam-001.png']).names == ['cam-001.png', 'cam-002.png']
  assert in_order(['-5.png']).names == ['-5.png']


@pytest.mark.parametrize('half', ['AM', 'pm', 'p.m', 'PM_rgb'])
def test_times_of_12_hours_are_refused(half):
  with pytest.raises(UserError, match='a time of day with AM or PM; write it from 00 to 23 hours'):
    in_order([f'11-59-58 {half}.png', f'11-59-59.5_{half}.png'])


def test_a_word_after_a_time_of_day_is_no_half_of_the_day():
  names = ['11-59-58_cam_rgb.png', '11-59-59_cam_rgb.png', '12-00-00_amp.png']
  assert in_order(names[:2]).names == names[:2]
  assert in_order(names[2:]).names == names[2:]
