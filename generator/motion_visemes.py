"""Classes of speech sounds that look alike, shared by training targets and network heads.

Sounds come as IPA (espeak-ng) or ARPAbet (flite, aligners). 26 classes: consonants by place, vowels by
opening and rounding, silence last.
"""

from __future__ import annotations

import itertools
import re
from typing import Final

VISEMES: Final = (
    "PP", "MM", "FF", "TH", "DD", "NN", "LL", "SS", "CH", "KK", "HH", "RR", "WW", "JJ",
    "AA", "AE", "AH", "EH", "IH", "IY", "ER", "AO", "OW", "UU", "YY", "sil",
)  # fmt: skip
SILENCE: Final = VISEMES.index("sil")
CLOSED: Final = frozenset({"PP", "MM"})

# A symbol is read sound by sound, each by its longest name here: a diphthong shows its vowels in turn.
IPA: Final[dict[str, str]] = {
    "PP": "p b ɓ", "MM": "m ɱ", "FF": "f v ʋ", "TH": "θ ð", "DD": "t d ʈ ɖ ɾ ɽ c ɟ", "NN": "n ɲ ɳ", "LL": "l ɫ ɭ ʎ",
    "SS": "s z ts dz", "CH": "tʃ dʒ tɕ dʑ ʃ ʒ ɕ ʑ ʂ ʐ tʂ dʐ ɧ", "KK": "k g ɡ ŋ x ɣ χ q ʁ ʀ", "HH": "h ħ ɦ ç ʔ",
    "RR": "r ɹ ɻ", "WW": "w ɥ β ʍ ɸ", "JJ": "j ʝ", "AA": "a ɑ ɐ", "AE": "æ", "AH": "ə ʌ ɘ ᵻ", "EH": "ɛ e", "IH": "ɪ ɨ",
    "IY": "i", "ER": "ɜ ɚ ɝ ɵ", "AO": "ɔ ɒ", "OW": "o ɤ", "UU": "u ʊ ɯ ʉ", "YY": "y ʏ ø œ",
}  # fmt: skip
OTHER_DIPHTHONGS: Final[dict[str, tuple[str, str]]] = {"əʊ": ("OW", "UU"), "ɔø": ("AO", "IH"), "ɔʏ": ("AO", "IH")}
"""Whose lips are not those of the two vowels they are written with: English "go", German "neu"."""

# What espeak-ng 1.51 calls a phoneme where that is no IPA; `phsource/ph_*` of its source say what it is.
_ESPEAK_NAMES: Final = (
    ("?", "ʔ"),  # Danish short a: "ipa ?ɑ"
    ("ε", "ɛ"),  # Danish short e: a Greek letter
    ("i.", "ɨ"), ("i̪", "ɨ"),  # Mandarin "shi", "si": formants of the close central vowel
    ("s.", "ʂ"), ("z.", "ʐ"), ("r.", "ɽ"),  # a full stop means retroflex
    ("sx", "ɧ"),  # Swedish "sju"
    ("nɡ", "ŋ"),  # Mandarin "-ong"
    ("ər", "ɚ"),  # Mandarin "er"
)  # fmt: skip
ARPABET: Final[dict[str, str]] = {
    "P": "PP", "B": "PP", "M": "MM", "F": "FF", "V": "FF", "TH": "TH", "DH": "TH", "T": "DD", "D": "DD", "DX": "DD",
    "N": "NN", "EN": "NN", "L": "LL", "EL": "LL", "S": "SS", "Z": "SS", "CH": "CH", "JH": "CH", "SH": "CH", "ZH": "CH",
    "K": "KK", "G": "KK", "NG": "KK", "HH": "HH", "R": "RR", "W": "WW", "Y": "JJ", "AA": "AA", "AE": "AE", "AH": "AH",
    "AX": "AH", "EH": "EH", "IH": "IH", "IY": "IY", "ER": "ER", "AXR": "ER", "AO": "AO", "UH": "UU", "UW": "UU",
    "SIL": "sil", "PAU": "sil", "#": "sil",
}  # fmt: skip
ARPABET_DIPHTHONGS: Final[dict[str, tuple[str, str]]] = {
    "AY": ("AA", "IH"), "AW": ("AA", "UU"), "EY": ("EH", "IH"), "OW": ("OW", "UU"), "OY": ("AO", "IH"),
}  # fmt: skip

_MARKS = str.maketrans("", "", "ːˈˌ̩̃ˑ̥̪ʲ̯̝̞̆͡‿ʰˠ-~^'*")
_CLASS_OF: Final = {sound: name for name, sounds in IPA.items() for sound in sounds.split()}
_SOUND: Final = re.compile("|".join(sorted(_CLASS_OF, key=len, reverse=True)))


def visemes_of_ipa(symbol: str) -> tuple[str, ...]:
    """The classes of an IPA symbol or an espeak-ng phoneme name, in turn; silence for none; a schwa for an unknown one.

    An h after another consonant is its breath, and a glottal stop beside another sound is how that begins (espeak-ng
    writes Danish short vowels so): neither has a shape of its own. A palatal mark alone is a glide.
    """
    for name, ipa in _ESPEAK_NAMES:
        symbol = symbol.replace(name, ipa)
    plain = symbol.translate(_MARKS)
    if not plain:
        return ("JJ",) if "ʲ" in symbol else ("sil",)
    if plain in OTHER_DIPHTHONGS:
        return OTHER_DIPHTHONGS[plain]
    sounds = _SOUND.findall(plain)
    shaped = [sound for i, sound in enumerate(sounds) if sound != "ʔ" and not (sound == "h" and i > 0)]
    classes = [_CLASS_OF[sound] for sound in shaped or sounds]
    return tuple(name for name, _ in itertools.groupby(classes)) or ("AH",)


def visemes_of_arpabet(phone: str) -> tuple[str, ...]:
    """One or two classes of an ARPAbet phone (stress digits ignored); an unknown one counts as a schwa."""
    plain = phone.upper().rstrip("012")
    return ARPABET_DIPHTHONGS.get(plain) or (ARPABET.get(plain, "AH"),)
