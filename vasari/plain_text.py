"""Strangers' text made safe to show: file names, manifest titles, signer names.

HTML is escaped by the templates; here go the characters that deceive in any medium: terminal control sequences,
line breaks inside a name, and marks that turn the reading direction ("Trojan Source", CVE-2021-42574).
"""

import unicodedata

LONGEST_SHOWN = 300
"""Characters of a stranger's text that are shown; the rest is counted."""


def printable(text: object, limit: int = LONGEST_SHOWN) -> str:
    """`text` with invisible and control characters spelled out, at most `limit` characters of it."""
    full = str(text)
    shown = "".join(_visible(character) for character in full[:limit])
    left = len(full) - limit
    return shown if left <= 0 else f"{shown}… ({left:,} more characters)"


def _visible(character: str) -> str:
    hidden = unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    return f"\\u{{{ord(character):x}}}" if hidden else character
