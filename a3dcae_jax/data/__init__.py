"""Data sets: their readers, the frame cache, clips and batches.

TensorFlow is needed only by `pipeline` and by the TFDS builders.
"""
