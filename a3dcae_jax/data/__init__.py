"""Footage: what readers yield, the frame cache, clips and batches drawn from it. TensorFlow only in `pipeline` and in TFDS builders."""
