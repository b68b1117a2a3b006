"""Images as grey frames: their bits, sizes, kinds and orientation."""

import numpy as np
import pytest
from PIL import Image

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.data import video
from a3dcae_jax.data.notes import collect_notes
from a3dcae_jax.data.video import read_grey, read_mask


def save(path, pixels, **options):
  Image.fromarray(pixels).save(path, **options)
  return path


@pytest.mark.parametrize('suffix', ['.tif', '.png', '.pgm'])
def test_of_16_bits_the_upper_8_are_kept(tmp_path, suffix):
  pixels = np.asarray([[0, 255, 256], [15360, 56320, 65535]], np.uint16)
  path = save(tmp_path / f'a{suffix}', pixels)
  with collect_notes() as notes:
    np.testing.assert_array_equal(read_grey(path), [[0, 0, 1], [60, 220, 255]])
  assert ('pixels of 16 bits, of which the upper 8 are kept', str(tmp_path)) in notes


def test_big_endian_pixels_of_16_bits(tmp_path):
  image = Image.frombytes('I;16B', (2, 1), bytes([60, 0, 220, 1]))
  image.save(tmp_path / 'a.tif')
  assert read_grey(tmp_path / 'a.tif').tolist() == [[60, 220]]


def test_floats_are_from_0_to_1(tmp_path):
  path = save(tmp_path / 'a.tif', np.asarray([[0, 0.5, 1]], np.float32))
  with collect_notes() as notes:
    assert read_grey(path).tolist() == [[0, 128, 255]]
  assert ('pixels are floats, scaled by 255', str(tmp_path)) in notes


@pytest.mark.parametrize(
  'pixels, message',
  [
    (np.asarray([[-3, 900]], np.float32), 'float pixels from -3 to 900.*rescale'),
    (np.asarray([[0.5, np.nan]], np.float32), 'float pixels from nan to nan.*rescale'),
    (np.asarray([[np.nan, np.nan]], np.float32), 'float pixels.*rescale'),
    (np.asarray([[0, 70000]], np.int32), 'pixels from 0 to 70000.*rescale'),
    (np.asarray([[-1, 7]], np.int32), 'pixels from -1 to 7.*rescale'),
  ],
)
def test_other_ranges_are_refused(tmp_path, pixels, message):
  with pytest.raises(UserError, match=message):
    read_grey(save(tmp_path / 'a.tif', pixels))


def test_kinds_of_pixels_that_cannot_become_grey_are_refused(tmp_path):
  Image.frombytes('LAB', (2, 1), bytes(6)).save(tmp_path / 'a.tif')
  for read in (read_grey, read_mask):
    with pytest.raises(UserError, match='a.tif has pixels of the kind LAB.*grey or RGB'):
      read(tmp_path / 'a.tif')


@pytest.mark.parametrize('mode', ['LA', 'RGBA', 'P'])
def test_transparency_is_said(tmp_path, mode):
  image = Image.fromarray(np.full((2, 3, 4), 100, np.uint8))
  image.convert(mode).save(tmp_path / 'a.png', transparency=0 if mode == 'P' else None)
  with collect_notes() as notes:
    assert read_grey(tmp_path / 'a.png')[0, 0] in range(95, 106)
  assert ('transparency, which is not used', str(tmp_path)) in notes


def test_opaque_images_have_no_transparency(tmp_path):
  path = save(tmp_path / 'a.png', np.full((2, 3, 4), 255, np.uint8))
  with collect_notes() as notes:
    assert (read_grey(path) == 255).all()
  assert not notes


@pytest.mark.parametrize('colour', [(0, 0, 1), (1, 0, 0), (0, 2, 0)])
def test_a_mask_has_any_colour(tmp_path, colour):
  pixels = np.zeros((1, 2, 3), np.uint8)
  pixels[0, 1] = colour
  save(tmp_path / 'rgb.png', pixels)
  Image.fromarray(pixels).quantize(4).save(tmp_path / 'palette.png')
  for name in ('rgb.png', 'palette.png'):
    assert read_mask(tmp_path / name).tolist() == [[0, 1]]


@pytest.mark.parametrize('kind', [np.uint8, np.uint16, np.int32, np.float32])
def test_a_mask_is_1_where_it_is_not_black(tmp_path, kind):
  path = save(tmp_path / 'a.tif', np.asarray([[0, 1, 2]], kind))
  assert read_mask(path).tolist() == [[0, 1, 1]]


@pytest.mark.parametrize('suffix', ['.webp', '.gif', '.bmp', '.jp2', '.tga', '.ppm', '.avif'])
def test_images_of_many_kinds_are_read(tmp_path, suffix):
  path = save(tmp_path / f'a{suffix}', np.full((16, 24), 99, np.uint8))
  assert abs(read_grey(path).astype(int) - 99).max() <= 2


def test_too_many_pixels_are_refused_before_they_are_decoded(tmp_path, monkeypatch):
  path = save(tmp_path / 'a.png', np.zeros((30, 40), np.uint8))
  monkeypatch.setattr(video, '_MAX_PIXELS', 1000)
  with pytest.raises(UserError, match='a.png has 40x30 pixels, more than the 1,000 of a frame'):
    read_grey(path)
  monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)  # Pillow refuses more than twice as many
  with pytest.raises(UserError, match='a.png has more than the 1,000 pixels of a frame'):
    read_grey(path)


def test_an_image_of_several_pages_is_refused(tmp_path):
  pages = [Image.fromarray(np.full((4, 6), shade, np.uint8)) for shade in (0, 99)]
  for suffix in ('.tif', '.gif', '.webp'):
    path = tmp_path / f'a{suffix}'
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with pytest.raises(UserError, match='holds several images'):
      read_grey(path)


def test_images_are_turned_as_their_exif_data_says(tmp_path):
  exif = Image.Exif()
  exif[0x0112] = 6  # shown upright after a quarter turn clockwise
  path = save(tmp_path / 'a.png', np.asarray([[1, 2, 3], [4, 5, 6]], np.uint8), exif=exif)
  assert read_grey(path).tolist() == [[4, 1], [5, 2], [6, 3]]


def test_pixels_of_a_jpeg_mask_count_from_half_of_white_on(tmp_path):
  pixels = np.zeros((32, 48), np.uint8)
  pixels[8:20, 8:30] = 255
  np.testing.assert_array_equal(read_mask(save(tmp_path / 'a.jpg', pixels)), pixels > 0)
  assert not read_mask(save(tmp_path / 'b.jpg', 0 * pixels)).any()
  with pytest.raises(UserError, match='c.jpg is a JPEG mask whose brightest pixel is .* of 255'):
    read_mask(save(tmp_path / 'c.jpg', pixels // 3))


def test_transparent_pixels_of_a_mask_are_not_marked(tmp_path):
  pixels = np.zeros((8, 8, 4), np.uint8)
  pixels[..., 0] = 255
  pixels[2:4, 2:5, 3] = 90
  mask = read_mask(save(tmp_path / 'a.png', pixels))
  np.testing.assert_array_equal(mask, pixels[..., 3] > 0)
