"""Detector bundles: what leaves the house. Loading one needs jax and numpy alone (and flatbuffers, which `jax.export` reads with).

from a3dcae_jax.serving.bundle import load_bundle

detector = load_bundle('ped2.bundle')       # every file is compared with its SHA-256
errors, maps = detector(clips)              # uint8 [B, T, H, W], or float32 in [0, 1]
abnormal = detector.scores(errors) > detector.threshold     # bool [B, T]
"""
