"""Where configs end: the only room that sees a ConfigDict and joins data, networks, training, scoring and report into a run."""
