"""Pictures that are kept for clips."""

import os

import numpy as np
import pytest

from a3dcae_jax.watching.recorder import image_of
from tests.watching.page.made import picture


@pytest.mark.skipif(not os.path.isdir('/proc/self/task'), reason='threads are counted in /proc')
def test_a_kept_picture_that_was_shown_holds_no_threads():
  """Each held a scaler with a thread for each core: 170 threads for one camera."""
  kept = [picture(frame, 40 + frame) for frame in range(30)]
  image_of(kept[0])
  before = len(os.listdir('/proc/self/task'))
  images = [image_of(each) for each in kept]
  assert len(os.listdir('/proc/self/task')) <= before + 5
  for each, image in zip(kept, images, strict=True):
    np.testing.assert_array_equal(image, each.image.to_image())
  assert images[29].getpixel((5, 5)) != images[0].getpixel((5, 5))
