"""From a checkpoint and its calibration to a bundle or an ONNX file."""
