"""From a checkpoint and its calibration to a detector bundle, or an ONNX file."""
