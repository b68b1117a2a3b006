"""a3dcae_jax: abnormal event detection in video with an adversarial 3D convolutional auto-encoder."""

__version__ = '0.1.0'
