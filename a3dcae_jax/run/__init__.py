"""One training run: its data, its training, its folder, and what the commands do with it."""
