"""How fast and how large: programs timed here, compiled for machines that are not here, and read for what limits them."""
