"""Named sizes of the network: Fig. 2 of the paper, and smaller ones for CPUs and tests."""

from typing import NamedTuple


class Preset(NamedTuple):
  """Widths of Conv1.. of the auto-encoder, widths of the discriminator's convolutions, units of its FC 4, frame size in pixels."""

  widths: tuple
  discriminator_widths: tuple
  discriminator_units: int
  size_px: int


PRESETS = {
  'paper': Preset((64, 128, 256, 512, 512), (64, 128, 256), 256, 224),
  'paper6': Preset((64, 128, 256), (64, 128, 256), 256, 224),
  'small': Preset((16, 32, 64, 128, 128), (16, 32, 64), 64, 112),
  'small6': Preset((16, 32, 64), (16, 32, 64), 64, 112),
  'tiny': Preset((4, 4, 6, 6, 8), (2, 2, 4), 4, 32),
}
