"""Measure speed and size: programs timed here, or compiled for other machines."""
