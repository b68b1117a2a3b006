"""Detector bundles: trained detectors that run without the rest of the package.

Loading needs only jax, numpy and flatbuffers, which `jax.export` uses.

    from a3dcae_jax.serving.bundle import load_bundle

    detector = load_bundle('ped2.bundle')       # each file is compared with its SHA-256
    scores = detector.score_video(frames)       # uint8 [N, H, W] -> float64 [N]
    abnormal = scores > detector.threshold      # bool [N]
"""
