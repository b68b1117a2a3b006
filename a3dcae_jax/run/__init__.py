"""One training run: its data, training, folder, evaluation and export."""
