"""Tools of all packages: errors for users, atomic files, settings of the process."""
