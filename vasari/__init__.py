"""Vasari: talking clips with consent, mark and manifest, and an explained verdict on any clip.

This package is the command line, the audit of one clip and the reports; see `vasari --help`.
"""

__version__ = "0.1.0"
__all__ = ["__version__"]
