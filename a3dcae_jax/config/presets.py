"""Named sizes of the networks: Fig. 2 of the paper, and smaller ones."""

from typing import NamedTuple


class Preset(NamedTuple):
  """Sizes of the networks and of the frames.

  Attributes:
    widths: channels of Conv1, Conv2, ... of the auto-encoder.
    discriminator_widths: channels of the discriminator's convolutions.
    discriminator_units: units of the discriminator's FC 4.
    size_px: height and width of the frames.
    kind: `model.kind`. The compared networks have no discriminator.
    window: frames per clip.
  """

  widths: tuple[int, ...]
  discriminator_widths: tuple[int, ...]
  discriminator_units: int
  size_px: int
  kind: str = 'a3dcae'
  window: int = 16


def _compared(kind: str, widths: tuple[int, ...], window: int) -> dict[str, Preset]:
  """Return a compared network as published, and one a quarter as wide."""
  quarter = tuple(width // 4 for width in widths)
  return {
    kind: Preset(widths, (), 0, 224, kind, window),
    f'small_{kind}': Preset(quarter, (), 0, 112, kind, window),
  }


PRESETS = {
  'paper': Preset((64, 128, 256, 512, 512), (64, 128, 256), 256, 224),
  'paper6': Preset((64, 128, 256), (64, 128, 256), 256, 224),
  'small': Preset((16, 32, 64, 128, 128), (16, 32, 64), 64, 112),
  'small6': Preset((16, 32, 64), (16, 32, 64), 64, 112),
  'tiny': Preset((4, 4, 6, 6, 8), (2, 2, 4), 4, 32),
  **_compared('conv_ae', (512, 256, 128), 10),
  **_compared('convlstm_ae', (128, 64, 32), 10),
  **_compared('plain_3d', (96, 128, 256, 256), 16),
}
