"""The command line: flags, one-line errors, joining a pod."""
