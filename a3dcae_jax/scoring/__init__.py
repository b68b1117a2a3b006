"""From errors to scores, metrics and files.

NumPy alone, except `errors` and `local`, which run on the device.
"""
