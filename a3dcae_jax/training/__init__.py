"""Training: losses, state, the update, devices, processes, the loop, checkpoints."""
