"""The live page of `detect`: pictures, scores and events in a browser."""
