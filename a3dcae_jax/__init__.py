"""Abnormal event detection in video, in JAX and Flax.

An adversarial 3D convolutional auto-encoder learns normal video and scores what it cannot
reconstruct.
"""

__version__ = '0.1.0'
