"""Reports: an HTML page per run, tables for the terminal, comparisons of runs."""
