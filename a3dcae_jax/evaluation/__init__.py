"""From a trained network to scores, metrics and what a report shows."""
