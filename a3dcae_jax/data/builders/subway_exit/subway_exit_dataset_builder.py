"""TFDS builder of the subway exit."""

from a3dcae_jax.data.builders.base import ReaderBuilder


class SubwayExit(ReaderBuilder):
  """The subway exit, one example per frame. See README.md in this folder."""

  name = 'subway_exit'
  DESCRIPTION = (
    'One long video of a subway exit, 64,900 frames. Wrong direction, loitering and cleaning are '
    'abnormal.'
  )
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    'There is no public address. Ask the authors for the video of the subway exit: A. Adam, '
    'E. Rivlin, I. Shimshoni, D. Reinitz, "Robust real-time unusual event detection using multiple '
    'fixed-location monitors", IEEE TPAMI 30(3), 2008; write to the corresponding author named '
    'there. Put the video, alone, into the manual folder, or give its folder as `root`. Ground '
    'truth, lengths and the start of the test part go into `options`; see README.md in this '
    'folder.'
  )
