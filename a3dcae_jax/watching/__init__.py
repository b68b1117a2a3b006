"""Implementation of `detect`: cameras and archives watched by a bundle."""
