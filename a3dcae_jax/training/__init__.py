"""Training: losses, state, the update, devices and processes, the loop, checkpoints, hooks."""
