"""One training run: its data, its training, its folder."""
