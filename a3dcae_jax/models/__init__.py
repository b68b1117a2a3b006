"""The two networks of the paper as Flax modules, over the operators of `ops`."""
