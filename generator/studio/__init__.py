"""The studio: makes all training data and the demo identity. Not part of the installed packages."""
