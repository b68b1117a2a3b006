"""TFDS builder of Street Scene."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class StreetScene(ReaderBuilder):
  """Street Scene, one example per frame. See README.md in this folder."""

  name = 'street_scene'
  DESCRIPTION = (
    'A two-lane street seen from above, 1280x720, 15 frames/s: 46 training and 35 test videos, '
    '203,257 frames. Jaywalking, illegal turns and parking, cars outside their lane, dogs and more '
    'are abnormal.'
  )
  HOMEPAGE = 'https://www.merl.com/demos/video-anomaly-detection'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'The authors (Mitsubishi Electric Research Laboratories, merl.com) give Train.tgz and Test.tgz '
    'away. Unpack both into the manual folder, so that Train/TrainNNN/*.jpg, Test/TestNNN/*.jpg '
    'and Test/TestNNN/TestNNN_gt.txt are there; or give their folder as `root`.'
  )
