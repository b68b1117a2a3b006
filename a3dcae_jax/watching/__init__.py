"""Cameras and archives watched by a detector, which is `detect`."""
