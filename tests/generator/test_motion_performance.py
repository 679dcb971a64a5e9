"""The performance model keeps its promises to the lips: closed on p, b, m, at the teeth on f, v, at rest in pauses."""

import numpy as np
import pytest

pytest.importorskip("soundfile", reason="the studio needs soundfile (pip install '.[training]')")

from generator.motion_mouth import MOUTH_AXES, REST_GAP_CM
from generator.motion_visemes import VISEMES, visemes_of_arpabet, visemes_of_ipa
from generator.studio.performance import SHAPES, frame_targets, lip_gap_cm, mouth_curve, shape_matrix
from generator.studio.speech_synthesis import SpokenSound, speak_espeak, spoken_sounds


def saying(*sounds: tuple[str, float]) -> tuple[list[SpokenSound], np.ndarray]:
    """Sounds with durations in a row, and even loudness."""
    out, start = [], 0.0
    for viseme, duration in sounds:
        out.append(SpokenSound(start, start + duration, viseme))
        start += duration
    return out, np.full(round(start * 16_000), 0.1, np.float32)


@pytest.mark.parametrize("closure", ["PP", "MM"])
@pytest.mark.parametrize("duration", [0.04, 0.06, 0.1])
@pytest.mark.parametrize("shift", [0.0, 0.01, 0.02, 0.03])
def test_lips_close_on_every_bilabial_wherever_the_frames_fall(closure: str, duration: float, shift: float) -> None:
    sounds, samples = saying(("sil", 0.3 + shift), ("AA", 0.12), (closure, duration), ("AA", 0.12), ("sil", 0.3))
    mouth, classes = frame_targets(sounds, samples, 24)
    gap = lip_gap_cm(mouth)
    near = slice(9, 16)
    assert gap[near].min() < 0.02
    assert gap.max() > 0.5
    assert VISEMES.index("AA") in classes


def test_rounded_neighbours_do_not_open_a_closure() -> None:
    sounds, samples = saying(("sil", 0.3), ("AO", 0.15), ("MM", 0.07), ("UU", 0.15), ("sil", 0.3))
    gap = lip_gap_cm(mouth_curve(sounds, samples, 0.97))
    assert gap[round(0.485 * 100)] < 0.02


def test_lower_lip_goes_to_the_teeth_on_f() -> None:
    sounds, samples = saying(("sil", 0.3), ("AA", 0.12), ("FF", 0.09), ("AA", 0.12), ("sil", 0.3))
    middle = mouth_curve(sounds, samples, 0.93)[round(0.465 * 100)]
    assert middle[MOUTH_AXES.index("mouthRollLower")] > 0.3
    assert 0.0 < lip_gap_cm(middle[None])[0] < 0.2


def test_rounding_begins_before_its_vowel_and_passes_through_consonants() -> None:
    sounds, samples = saying(("sil", 0.3), ("SS", 0.1), ("DD", 0.08), ("UU", 0.2), ("sil", 0.3))
    pucker = mouth_curve(sounds, samples, 0.98)[:, MOUTH_AXES.index("mouthPucker")]
    assert pucker[round(0.44 * 100)] > 0.4 * pucker.max()


def test_the_mouth_rests_in_pauses() -> None:
    sounds, samples = saying(("AA", 0.2), ("sil", 0.6), ("AA", 0.2))
    curve = mouth_curve(sounds, samples, 1.0)
    assert np.abs(curve[45:55]).max() < 0.01


def test_every_class_has_a_shape_with_its_lip_gap() -> None:
    gaps = lip_gap_cm(shape_matrix())
    for name, gap in zip(VISEMES, gaps, strict=True):
        assert gap == pytest.approx(SHAPES[name][0], abs=0.03), name
    assert gaps[VISEMES.index("sil")] == pytest.approx(REST_GAP_CM)


def test_loud_speech_opens_wider() -> None:
    sounds, samples = saying(("sil", 0.3), ("AA", 0.2), ("sil", 0.3), ("AA", 0.2), ("sil", 0.3))
    samples[: len(samples) // 2] *= 0.1
    gap = lip_gap_cm(mouth_curve(sounds, samples, 1.3))
    assert gap[90] > 1.1 * gap[40]


@pytest.mark.parametrize(
    ("symbol", "classes"),
    [
        ("pʰ", "PP"), ("m̩", "MM"), ("tʃ", "CH"), ("aɪ", "AA IH"), ("uː", "UU"), ("", "sil"), ("iə", "IY AH"),
        ("ɐ̃ʊ̃", "AA UU"), ("uei", "UU EH IY"), ("oːɹ", "OW RR"), ("əʊ", "OW UU"), ("pf", "PP FF"), ("ʔ", "HH"),
        ("‽", "AH"),
    ],
)  # fmt: skip
def test_ipa_symbols_find_their_classes(symbol: str, classes: str) -> None:
    assert visemes_of_ipa(symbol) == tuple(classes.split())


@pytest.mark.parametrize(
    ("name", "classes"),
    [
        ("ʔi", "IY"), ("?ɑ", "AA"), ("ε", "EH"),  # Danish short vowels
        ("ts.h", "CH"), ("s.", "CH"), ("i.", "IH"), ("i̪", "IH"), ("ph", "PP"), ("onɡ", "OW KK"),
        ("ər", "ER"),  # these of Mandarin
        ("r.", "DD"),  # Hindi
        ("sx", "CH"),  # Swedish
        ("ʲ", "JJ"), ("mʲ", "MM"),  # Russian
    ],
)  # fmt: skip
def test_phoneme_names_of_espeak_that_are_no_ipa_find_their_classes(name: str, classes: str) -> None:
    assert visemes_of_ipa(name) == tuple(classes.split())


def test_a_triphthong_shows_its_three_shapes_for_equal_times() -> None:
    sounds = spoken_sounds([(1.0, 1.3, "uei")], visemes_of_ipa)
    assert [sound.viseme for sound in sounds] == ["UU", "EH", "IY"]
    assert [sound.end_s for sound in sounds] == pytest.approx([1.1, 1.2, 1.3])


@pytest.mark.parametrize(
    ("voice", "text", "said"),
    [("da", "bil", "PP IY LL"), ("da", "mor", "MM OW AA"), ("da", "fire", "FF IY AH"), ("ru", "пять", "PP JJ AA DD")],
)
def test_the_sounds_of_words_in_other_languages_are_theirs(voice: str, text: str, said: str) -> None:
    try:
        spoken = speak_espeak(text, voice)
    except OSError as absent:
        pytest.skip(f"needs libespeak-ng1: {absent}")
    assert [sound.viseme for sound in spoken.sounds if sound.viseme != "sil"] == said.split()


def test_arpabet_stress_is_ignored() -> None:
    assert visemes_of_arpabet("AE1") == ("AE",)
    assert visemes_of_arpabet("OW0") == ("OW", "UU")
