"""Objects in frames: boxes around them, from a detector or a file."""
