"""Strangers' text can't steer a terminal, turn the reading direction or flood a page."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from vasari.plain_text import LONGEST_SHOWN, printable


def test_control_sequences_are_spelled_out() -> None:
    assert printable("\x1b[2Jclean") == "\\u{1b}[2Jclean"


def test_a_turned_file_name_is_shown_as_it_is_stored() -> None:
    assert printable("gpj.\u202e4pm") == "gpj.\\u{202e}4pm"


def test_long_text_is_cut_and_the_rest_counted() -> None:
    assert printable("x" * 10_000).endswith("… (9,700 more characters)")


def test_ordinary_text_of_any_script_stays() -> None:
    assert printable("Élodie 李 Ω.mp4") == "Élodie 李 Ω.mp4"


@given(st.text(max_size=400))
def test_nothing_invisible_ever_passes(text: str) -> None:
    shown = printable(text)
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in shown)
    assert len(shown) <= LONGEST_SHOWN * 10 + 40
