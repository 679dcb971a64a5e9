"""Classes of speech sounds that look alike, shared by training targets and network heads.

Sounds come as IPA (espeak-ng) or ARPAbet (flite, aligners). 26 classes: consonants by place, vowels by
opening and rounding, silence last.
"""

from __future__ import annotations

from typing import Final

VISEMES: Final = (
    "PP", "MM", "FF", "TH", "DD", "NN", "LL", "SS", "CH", "KK", "HH", "RR", "WW", "JJ",
    "AA", "AE", "AH", "EH", "IH", "IY", "ER", "AO", "OW", "UU", "YY", "sil",
)  # fmt: skip
SILENCE: Final = VISEMES.index("sil")
CLOSED: Final = frozenset({"PP", "MM"})

# An IPA symbol belongs to the class with the longest matching start. Diphthongs are two classes in turn.
IPA_STARTS: Final[dict[str, str]] = {
    "PP": "p b ɓ", "MM": "m ɱ", "FF": "f v ʋ", "TH": "θ ð", "DD": "t d ʈ ɖ ɾ c ɟ ʔ", "NN": "n ɲ ɳ", "LL": "l ɫ ɭ ʎ",
    "SS": "s z ts dz", "CH": "tʃ dʒ tɕ dʑ ʃ ʒ ɕ ʑ ʂ ʐ tʂ dʐ ɧ", "KK": "k g ɡ ŋ x ɣ χ q ʁ ʀ", "HH": "h ħ ɦ ç",
    "RR": "r ɹ ɻ", "WW": "w ɥ β ʍ ɸ", "JJ": "j ʝ", "AA": "a ɑ ɐ", "AE": "æ", "AH": "ə ʌ ɘ ᵻ", "EH": "ɛ e", "IH": "ɪ ɨ",
    "IY": "i", "ER": "ɜ ɚ ɝ ɵ", "AO": "ɔ ɒ", "OW": "o ɤ", "UU": "u ʊ ɯ ʉ", "YY": "y ʏ ø œ",
}  # fmt: skip
DIPHTHONGS: Final[dict[str, tuple[str, str]]] = {
    "aɪ": ("AA", "IH"), "aʊ": ("AA", "UU"), "eɪ": ("EH", "IH"), "oʊ": ("OW", "UU"), "əʊ": ("OW", "UU"),
    "ɔɪ": ("AO", "IH"), "ɔø": ("AO", "IH"), "ɔʏ": ("AO", "IH"), "ai": ("AA", "IY"), "au": ("AA", "UU"),
    "ei": ("EH", "IY"), "ou": ("OW", "UU"), "ɛɪ": ("EH", "IH"), "œy": ("YY", "YY"), "ʌʊ": ("AH", "UU"),
    "ie": ("IY", "EH"), "ia": ("IY", "AA"), "ja": ("JJ", "AA"), "je": ("JJ", "EH"), "jo": ("JJ", "OW"),
    "uo": ("UU", "OW"), "ua": ("UU", "AA"), "iɛ": ("IY", "EH"),
}  # fmt: skip
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
_BY_LENGTH = sorted(((s, c) for c, starts in IPA_STARTS.items() for s in starts.split()), key=lambda x: -len(x[0]))


def visemes_of_ipa(symbol: str) -> tuple[str, ...]:
    """One or two classes of an IPA symbol; silence for none; an unknown symbol counts as a schwa."""
    plain = symbol.translate(_MARKS)
    if not plain:
        return ("sil",)
    if plain in DIPHTHONGS:
        return DIPHTHONGS[plain]
    return (next((c for start, c in _BY_LENGTH if plain.startswith(start)), "AH"),)


def visemes_of_arpabet(phone: str) -> tuple[str, ...]:
    """One or two classes of an ARPAbet phone (stress digits ignored); an unknown one counts as a schwa."""
    plain = phone.upper().rstrip("012")
    return ARPABET_DIPHTHONGS.get(plain) or (ARPABET.get(plain, "AH"),)
