"""TFDS builder of IITB Corridor."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class IitbCorridor(ReaderBuilder):
  """IITB Corridor, one example per frame. See README.md in this folder."""

  name = 'iitb_corridor'
  DESCRIPTION = (
    'A corridor seen by one camera, 1920x1080: 208 training videos, 150 test videos of 181,567 '
    'frames. Protest, chasing, fighting, loitering, unattended baggage, cycling and more are '
    'abnormal.'
  )
  HOMEPAGE = 'https://rodrigues-royston.github.io/Multi-timescale_Trajectory_Prediction/'
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'The home page links the two archives and gives their password. Unpack both into the manual '
    'folder, so that Train_IITB-Corridor/Train/NNNNNN/, Test_IITB-Corridor/Test/NNNNNN/ and '
    'Test_IITB-Corridor/Test_Annotation/Annotation/NNNNNN/ are there; or give their folder as '
    '`root`.'
  )
