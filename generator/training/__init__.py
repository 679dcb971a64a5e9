"""Training of the generator's networks. Not part of the installed packages."""
