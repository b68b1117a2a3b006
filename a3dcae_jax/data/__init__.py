"""Videos: readers of data sets, the frame cache, and the clips and batches drawn from it.

TensorFlow is needed only by `pipeline` and by the TFDS builders.
"""
