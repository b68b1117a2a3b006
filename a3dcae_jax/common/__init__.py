"""What every room may use: errors for people, files written whole, settings of the process."""
