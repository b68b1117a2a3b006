"""From a trained network to errors, scores, metrics and a report.

    calibration = calibrate(scorer, cache.train, inputs, ...)   # training videos, once
    result = find_errors(scorer, cache.test, calibration, ...)  # test videos
    metrics = write_results(workdir, ...)                       # scores.csv, metrics.json, report

A scorer is a checkpoint or a bundle, see `evaluation.scorer.Scorer`.
"""
