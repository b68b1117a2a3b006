"""Training: losses, state, one update, how it is spread over devices, the loop, checkpoints, writers."""
