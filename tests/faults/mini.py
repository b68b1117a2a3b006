"""The smallest run there is: 16x16 pixels, two layers, four frames a clip. Start-up is all its time."""

from configs import synthetic


def get_config(variant='tiny'):
  config = synthetic.get_config(variant)
  config.unlock()
  config.data.options = {
    'num_videos': 3,
    'frames_per_video': 42,
  }  # 33 windows of 4 frames: an odd number
  config.data.height = config.data.width = 16
  config.clips.window = 4
  config.model.widths = config.model.discriminator_widths = (4, 4)
  config.model.discriminator_units = 4
  config.train.steps = 12
  return config.lock()
