"""From errors to scores, metrics and files, under protocols that are named. NumPy alone, but for `errors`, which runs on the device."""
