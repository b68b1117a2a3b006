"""Export a checkpoint and its calibration as a detector bundle."""
