"""Every field of every config, with its meaning and unit. Data-set files and variants only change values.

A subtree is the keyword arguments of one function, named beside it.
"""

from ml_collections import config_dict

from a3dcae_jax.common.errors import UserError
from a3dcae_jax.common.frame_rms import TUNED_RMS
from a3dcae_jax.models.presets import PRESETS
from a3dcae_jax.scoring.local import Rule

STRIDES = (1, 2, 3)

# Variants that every data set has: Fig. 2, a smaller network for CPUs, a better detector, and one for tests.
_CPU = {'preset': 'small', 'train.batch_size': 4, 'optimizer.learning_rate': 1e-3}
# The paper's method. Both scales start the network where it can say how bright people are, and at their size: 1,500 updates leave a tenth of the frames'
# energy, where 300 left two fifths. A larger lambda ends that half way. Footage at its own speed, at half of it and standing still; tested three
# times as fast, by how much more than in training each place of a window errs, smoothed: the best of its readings on made videos (docs/notes/0004).
# Frames normalised one by one: else the error counts people.
_METHOD = {
  'clips.strides': (0, 0.5, 1),
  'eval.every_frames': 4,
  'eval.stride': 3,
  'eval.divide_by_position': True,
  'eval.smoothing_frames': 5.0,
  'frames.target_rms': TUNED_RMS,
  'model.output_gain': 0.2,
  'model.bn_scale_init': 0.2,
  'objective.adversarial_weight': 1e-6,
  'train.steps': 1500,
  'optimizer.schedule': 'cosine',
}
SIZES = {
  'paper': {'preset': 'paper', **_METHOD, 'optimizer.learning_rate': 8e-4},
  # The paper's 6-layer network (Table VII): on made videos it ranks better by what moves than the 10 layers of Fig. 2.
  'small': {
    **_CPU,
    **_METHOD,
    'preset': 'small6',
    'train.batch_size': 2,
    'train.checkpoint_every_steps': 250,
    'optimizer.learning_rate': 3e-3,
  },
  # Beyond the paper (docs/notes/0004): frames are hidden and predicted; what is stranger than usual in any one place counts, smoothed. Without
  # the discriminator an update takes half the time.
  'best': {
    **_CPU,
    'train.steps': 300,
    'train.checkpoint_every_steps': 100,
    'objective.mask_period': 8,
    'objective.mask_length': 3,
    'objective.adversarial_weight': 0.0,
    'eval.error': 'local',
    'eval.smoothing_frames': 5.0,
  },
  # The paper's other auto-encoder, of optical flow (Table IX). Normalised frames would say nothing of speed, a larger stride is more than flow can be
  # found at, and scales of 1 saturate tanh where things move faster than usual, which is then what is not reproduced (docs/notes/0004).
  'flow': {
    **_CPU,
    **_METHOD,
    'preset': 'small6',
    'train.batch_size': 2,
    'train.checkpoint_every_steps': 200,
    'optimizer.learning_rate': 3e-3,
    'frames.images': 'flow',
    'input.perspective': 'found',
    'frames.target_rms': 0.0,
    'clips.strides': (1,),
    'eval.stride': 1,
    'model.bn_scale_init': 1.0,
    'model.output_gain': 0.04,
    'train.steps': 600,
  },
  'tiny': {
    'preset': 'tiny',
    'train.steps': 4,
    'train.batch_size': 4,
    'train.log_every_steps': 2,
    'train.checkpoint_every_steps': 2,
    'eval.max_train_windows': 8,
  },
}


def get_config():
  """All fields at their defaults (the paper's values where it gives any), locked: an unknown key is an error."""
  config = config_dict.ConfigDict()
  config.seed = 0  # of the parameters, the batches and the noise
  config.variant = ''  # which variant of the file this is

  config.data = config_dict.ConfigDict(
    {  # -> runs.datasets.prepare_data
      'name': '',  # which builder: synthetic, ucsd_ped1, ucsd_ped2, avenue, ...
      'root': '',  # folder of the footage as shipped (`prepare --download` fetches UCSD, Avenue); not needed by synthetic
      'cache': '',  # a frame cache to use as it is, without the footage; '' finds or makes one under cache_dir
      'cache_dir': '',  # where frame caches are kept; '' is ./data/caches
      'height': 224,  # frames are resized to this, pixels
      'width': 224,
      'train_fraction': 0.0,  # of each video of video_folder that trains, where it has no training/ folder
      'label_set': '',  # '' is the data set's own default; the name stands in every result
      'mean_image': 'set',  # what frames are made zero-mean by: the mean image of the whole set (the paper), of each camera's, 'scene', or of
      # each video itself, 'video', with whoever stands there all the while (it sees the video's future)
      'options': {},  # what this builder alone takes; see its README
    }
  )
  config.clips = config_dict.ConfigDict(
    {  # -> data.windows.training_clips
      'window': 16,  # frames a clip, T
      'strides': STRIDES,  # temporal strides of training clips (Hasan et al. 2016); below 1 slowed down, 0 a still frame; variants choose
      'every_frames': 2,  # distance between the starts of training clips
    }
  )
  config.frames = config_dict.ConfigDict(
    {  # -> training.frames.network_input
      'images': 'frames',  # what is reconstructed: frames, or their optical 'flow' (magnitude, by least squares; the paper's Table IX)
      'row_scale': 'alike',  # of flow: each row is in units of the speed that is usual in it, 'found' in training footage or 'TOP:BOTTOM', as 0.5:1.2
      'target_rms': 0.0,  # c: each frame, less the mean image, is normalised by itself, times sqrt(2 c^2 / (its mean square + c^2)); 0 leaves it
    }
  )
  config.model = config_dict.ConfigDict(
    {  # -> runs.networks.make_networks
      'widths': PRESETS[
        'paper'
      ].widths,  # channels of Conv1..n; 5 make the 10-layer model, 3 the 6-layer one
      'discriminator_widths': PRESETS['paper'].discriminator_widths,
      'discriminator_units': PRESETS['paper'].discriminator_units,
      'first_kernel': (1, 3, 3),  # of Conv1 and the last deconvolution (Fig. 2)
      'places': 'recorded',  # un-pool at the maxima's places, or 'fixed' at the upper left (Table V)
      'output_gain': 1.0,  # of the reconstruction; bn_scale_init * output_gain of about a zero-mean pixel's deviation, 0.04: it starts at the frames' size
      'bn_scale_init': 1.0,  # what the scales of batch normalisation start from; below 1 tanh does not saturate from the start
      'polyphase': True,  # compute the outer layers by pool phase (exact)
      'conv_algorithm': 'auto',  # of 3D convolutions: auto, or one that ops/conv_algorithm.py names
      'dtype': 'auto',  # of the computation: auto is bfloat16 on accelerators, float32 on CPUs
      'remat': 'none',  # or 'blocks': keep only each block's input for the gradient and compute the rest twice; less memory, more time
    }
  )
  config.objective = config_dict.ConfigDict(
    {  # -> training.step.Objective
      'adversarial_weight': 1e-5,  # lambda of Eq. 9; the paper gives none. Larger, the adversarial gradient drowns the reconstruction's
      'noise_std': 0.005,  # of the Gaussian noise in training, on pixels in [0, 1]
      'reduction': 'mean',  # of the squared error over a clip: mean or sum
      'form': 'non_saturating',  # of the generator's adversarial loss, or 'saturating'
      'mask_period': 0,  # hide frames from the auto-encoder, a run every so many, and reconstruct these alone; 0 (the paper) hides none
      'mask_length': 1,  # frames a run; at test every frame is hidden in turn
    }
  )
  config.optimizer = config_dict.ConfigDict(
    {  # -> training.state.make_optimizer; PyTorch's RMSprop
      'learning_rate': 2e-4,
      'decay': 0.99,
      'eps': 1e-8,
      'momentum': 0.0,
      'schedule': 'constant',  # of the rate, as in the paper; or 'cosine': falls to a fiftieth over train.steps
    }
  )
  config.train = config_dict.ConfigDict(
    {  # -> runs.fit.train
      'steps': 20_000,  # updates
      'batch_size': 16,  # clips, over all devices
      'holdout_videos': 0,  # last training videos kept out of training: their errors calibrate 'train' and thresholds
      'input_pipeline': 'auto',  # resident (frames live on the device), streamed (tf.data), auto: resident where they fit
      'log_every_steps': 10,  # how often metrics are read from the device
      'checkpoint_every_steps': 500,
      'keep_checkpoints': 3,
      'reduce_dtype': 'auto',  # of gradients on their way between devices: float32, bfloat16 (half the bytes), auto: that of model.dtype
      'transfer_guard': True,  # an implicit copy between host and device inside the loop is an error
      'compilation_cache_dir': '',  # keep compiled programs in this folder, for the next run; '' keeps none
      'time_limit_s': 0.0,  # stop early, with a checkpoint, after this many seconds; 0 is never
    }
  )
  config.eval = config_dict.ConfigDict(
    {  # -> runs.score.evaluate_run
      'batch_size': 16,  # windows
      'normalisation': 'eq14',  # whose figures head the report: eq14, minmax, psnr, none, train; all are computed
      'every_frames': 0,  # distance between test windows; 0 is back to back, each frame scored once; else the errors of a frame are averaged
      'stride': 1,  # between the frames of a test window: at 3, what moves moves three times as far; of short videos the largest that fits
      'max_train_windows': 512,  # training windows whose errors calibrate 'train' and thresholds
      'error': 'eq13',  # mean over pixels; 'block': the largest mean of a block; 'smoothed': the largest value after smoothing;
      # 'motion': weighted by the frame difference; 'local': strangest place of a frame, by what is usual there
      'block_px': 16,  # side of the block
      'sigma_px': 4.0,  # of the smoothing
      'local': Rule()._asdict(),  # -> scoring.local.make_rule: window, target_rms, the network's part, share of places that counts
      'threshold_rule': 'quantile',  # of events, from training scores: quantile, rate (false alarms an hour there), fixed
      'threshold_value': 0.999,
      'event_persistence': 1.0,  # of the peaks that make events, in standard deviations of the training error
      'event_window_frames': 20,  # that a peak spans
      'merge_frames': 50,  # events nearer than this are one
      'frames_per_s': 25.0,  # of the footage: only for rates an hour and delays
      'smoothing_frames': 0.0,  # standard deviation of a Gaussian over the scores; 0 is none
      'smoothing_mode': 'centred',  # looks ahead; 'causal' does not
      'divide_by_position': False,  # divide errors by the training error of their place in the window
    }
  )
  return config.lock()


def with_preset(config, name):
  """Sets the network's and the frames' sizes to those of a preset of `models.presets`."""
  preset = PRESETS[name]
  config.model.widths = preset.widths
  config.model.discriminator_widths = preset.discriminator_widths
  config.model.discriminator_units = preset.discriminator_units
  config.data.height = config.data.width = preset.size_px
  return config


def with_variant(config, variants, variant):
  """Overlays the flat overrides of `variants[variant]`; its key 'preset' names a preset. An unknown variant or key is refused."""
  if variant not in variants:
    raise UserError(f'unknown variant {variant!r}; this config has: {", ".join(variants)}')
  overrides = dict(variants[variant])
  if 'preset' in overrides:
    with_preset(config, overrides.pop('preset'))
  config.update_from_flattened_dict(overrides)
  config.variant = variant
  return config
