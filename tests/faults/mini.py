"""The smallest run: frames of 16x16 pixels, two layers, clips of 4 frames.

Nearly all of its time is the start of the process.
"""

from a3dcae_jax.config import make_config


def get_config(variants='tiny'):
  # There are 33 test windows of 4 frames, an odd number.
  options = {'num_videos': 3, 'frames_per_video': 42}
  config = make_config('synthetic', variants, options=options, values={'data.root': ''})
  config.update_from_flattened_dict(
    {
      'data.height': 16,
      'data.width': 16,
      'clips.window': 4,
      'model.widths': (4, 4),
      'model.discriminator_widths': (4, 4),
      'model.discriminator_units': 4,
      'train.steps': 12,
    }
  )
  return config
