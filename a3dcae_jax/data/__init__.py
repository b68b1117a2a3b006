"""Footage: what readers yield, the frame store, clips and batches drawn from it. TensorFlow only in `pipeline` and in TFDS builders."""
