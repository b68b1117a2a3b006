"""Reports: an HTML page per run, tables for the terminal, runs side by side."""
