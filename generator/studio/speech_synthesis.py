"""Speech with exact phoneme times from three free engines: espeak-ng, flite and festival.

espeak-ng (library `libespeak-ng1`, GPL-3, which does not cover the sound) speaks every language here with one
timbre; flite's and festival's voices are cut or modelled from recordings of people and sound closer to them.
Each engine tells its own phoneme times, so no alignment is needed. Debian packages: libespeak-ng1,
espeak-ng-data, flite, festival and festvox-*. One espeak synthesiser per process; not thread-safe.
"""

from __future__ import annotations

import ctypes as C
import functools
import itertools
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.signal
import soundfile

from generator.motion_visemes import visemes_of_arpabet, visemes_of_ipa

RATE = 16_000
Samples = npt.NDArray[np.float32]

ESPEAK_VOICES = {
    "en-us": "en", "en": "en", "en-gb-scotland": "en", "en-gb-x-rp": "en", "de": "de", "fr": "fr", "it": "it",
    "es": "es", "es-419": "es", "pt-br": "pt", "pt": "pt", "nl": "nl", "pl": "pl", "sv": "sv", "fi": "fi", "tr": "tr",
    "hu": "hu", "cs": "cs", "ro": "ro", "id": "id", "sw": "sw", "cmn-latn-pinyin": "cmn",
}  # fmt: skip
HELD_OUT_VOICES = {"el": "el", "da": "da", "hi": "hi", "ca": "ca", "ru": "ru"}
"""Languages that no example is made in, so that the model can be tested on them."""
ESPEAK_TIMBRES = (
    "", "+m1", "+m2", "+m3", "+m4", "+m5", "+m6", "+m7", "+m8", "+f1", "+f2", "+f3", "+f4", "+f5", "+whisper",
    "+croak", "+klatt", "+klatt2", "+klatt3", "+klatt4", "+iven", "+steph", "+Annie", "+Andy", "+zac", "+Lee",
)  # fmt: skip
FLITE_VOICES = ("slt", "rms", "awb", "kal16")
FESTIVAL_VOICES = {  # voice function -> language of the text; phones by name, see `_FESTIVAL_PHONES`
    "voice_kal_diphone": "en", "voice_ked_diphone": "en", "voice_cmu_us_slt_arctic_hts": "en",
    "voice_lp_diphone": "it", "voice_pc_diphone": "it", "voice_czech_dita": "cs", "voice_czech_machac": "cs",
    "voice_czech_ph": "cs", "voice_hy_fi_mv_diphone": "fi", "voice_suo_fi_lj_diphone": "fi",
}  # fmt: skip
# SAMPA-like phone names of the festival voices that are not ARPAbet, as IPA.
_FESTIVAL_PHONES = {
    "S": "ʃ", "tS": "tʃ", "dZ": "dʒ", "Z": "ʒ", "J": "ɲ", "L": "ʎ", "E": "ɛ", "O": "ɔ", "c~": "tʃ", "s~": "ʃ",
    "z~": "ʒ", "r~": "r", "n~": "ɲ", "t~": "c", "d~": "ɟ", "ch": "x", "dz~": "dʒ", "@": "æ", "2": "ø", "{": "æ",
    "ae": "æ", "oe": "ø", "A": "ɑ", "C": "tʃ", "N": "ŋ", "ng": "ŋ", "nk": "ŋ", "#": "", "pau": "", "_": "", "sil": "",
}  # fmt: skip


@dataclass(frozen=True)
class SpokenSound:
    """One class of `motion_visemes.VISEMES` from `start_s` to `end_s`."""

    start_s: float
    end_s: float
    viseme: str


@dataclass(frozen=True)
class Utterance:
    samples: Samples  # float32 [n] at 16 kHz, peak 1 at most
    sounds: tuple[SpokenSound, ...]

    @property
    def duration_s(self) -> float:
        return len(self.samples) / RATE


def spoken_sounds(
    timed: list[tuple[float, float, str]], classes: Callable[[str], tuple[str, ...]]
) -> tuple[SpokenSound, ...]:
    """Named phones to classes; two of one phone share its time 55 to 45, three of a triphthong equally."""
    sounds = []
    for start, end, name in timed:
        if end - start < 0.004:
            continue
        found = classes(name)
        edges = (
            [start, start + 0.55 * (end - start), end]
            if len(found) == 2
            else np.linspace(start, end, len(found) + 1).tolist()
        )
        sounds += [SpokenSound(*span, viseme) for span, viseme in zip(itertools.pairwise(edges), found, strict=True)]
    return tuple(sounds)


class _Id(C.Union):
    _fields_ = (("number", C.c_int), ("name", C.c_char_p), ("string", C.c_char * 8))


class _Event(C.Structure):
    _fields_ = (
        ("type", C.c_int), ("unique_identifier", C.c_uint), ("text_position", C.c_int), ("length", C.c_int),
        ("audio_position_ms", C.c_int), ("sample", C.c_int), ("user_data", C.c_void_p), ("id", _Id),
    )  # fmt: skip


class _Espeak:
    """Constants from speak_lib.h: synchronous output 2, phoneme events 1, IPA names 2, event type 7 = phoneme."""

    def __init__(self) -> None:
        self.library = C.CDLL("libespeak-ng.so.1")
        self.rate: int = self.library.espeak_Initialize(2, 0, None, 1 | 2)
        kind = C.CFUNCTYPE(C.c_int, C.POINTER(C.c_short), C.c_int, C.POINTER(_Event))
        self.callback = kind(self._receive)
        self.library.espeak_SetSynthCallback(self.callback)
        self.pcm: list[npt.NDArray[np.int16]] = []
        self.starts: list[tuple[float, str]] = []

    def _receive(self, wave: Any, count: int, events: Any) -> int:
        if wave and count > 0:
            self.pcm.append(np.ctypeslib.as_array(wave, (count,)).copy())
        i = 0
        while events[i].type != 0:
            if events[i].type == 7:
                name = bytes(events[i].id.string).split(b"\0")[0].decode("utf8", "replace")
                if not name.startswith("("):  # a marker of a language switch
                    self.starts.append((events[i].audio_position_ms / 1000, name.strip("_:")))
            i += 1
        return 0

    def speak(self, text: str, voice: str, rate_wpm: int, pitch: int, pitch_range: int, flags: int = 1) -> Utterance:
        self.pcm, self.starts = [], []
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"espeak-ng has no voice {voice!r}; `espeak-ng --voices` lists them")
        for parameter, value in ((1, rate_wpm), (3, pitch), (4, pitch_range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        raw = text.encode("utf8") + b"\0"
        self.library.espeak_Synth(raw, C.c_size_t(len(raw)), 0, 1, 0, flags, None, None)
        self.library.espeak_Synchronize()
        samples = np.concatenate(self.pcm).astype(np.float32) / 32768
        ends = [start for start, _ in self.starts[1:]] + [len(samples) / self.rate]
        timed = [(start, end, name) for (start, name), end in zip(self.starts, ends, strict=True)]
        return Utterance(to_16k(samples, self.rate), spoken_sounds(timed, visemes_of_ipa))


def to_16k(samples: npt.NDArray[Any], rate: int) -> Samples:
    """float32 at 16 kHz, peak at most 1."""
    if rate != RATE:
        common = int(np.gcd(rate, RATE))
        samples = scipy.signal.resample_poly(samples, RATE // common, rate // common)
    return np.asarray(samples / max(1.0, float(np.abs(samples).max(initial=0.0))), np.float32)


@functools.cache
def _espeak() -> _Espeak:
    return _Espeak()


def speak_espeak(
    text: str, voice: str = "en-us", *, rate_wpm: int = 165, pitch: int = 50, pitch_range: int = 50
) -> Utterance:
    """Any of `ESPEAK_VOICES`, with one of `ESPEAK_TIMBRES` appended if wished."""
    return _espeak().speak(text, voice, rate_wpm, pitch, pitch_range)


def sing_espeak(text: str, voice: str, notes: Sequence[int], *, rate_wpm: int = 90) -> Utterance:
    """Like a song: every word holds one note, `notes` in semitones about the voice's own pitch, taken in turn."""
    words = [
        f'<prosody pitch="{100 * (2 ** (notes[i % len(notes)] / 12) - 1):+.0f}%">{word}</prosody>'
        for i, word in enumerate(text.split())
    ]
    marked_up = 1 | 0x10  # UTF-8, SSML
    return _espeak().speak(f"<speak>{' '.join(words)}</speak>", voice, rate_wpm, 50, 0, marked_up)


def speak_flite(text: str, voice: str = "slt", *, stretch: float = 1.0) -> Utterance:
    """English; `stretch` above 1 is slower."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        command = [
            "flite",
            "-voice",
            voice,
            "--setf",
            f"duration_stretch={stretch}",
            "-psdur",
            "-t",
            text,
            "-o",
            str(wav),
        ]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        samples, rate = soundfile.read(wav, dtype="float32")
    timed, start = [], 0.0
    for word in printed.split():
        name, end = word.rsplit(":", 1)
        timed.append((start, float(end), name))
        start = float(end)
    return Utterance(to_16k(samples, rate), spoken_sounds(timed, visemes_of_arpabet))


def speak_festival(texts: list[str], voice: str, *, stretch: float = 1.0) -> list[Utterance]:
    """All texts in one run of the program; texts must not hold quotes or backslashes."""
    with tempfile.TemporaryDirectory() as folder:
        lines = [f"({voice})", f"(Parameter.set 'Duration_Stretch {stretch})"]
        for i, text in enumerate(texts):
            clean = text.replace('"', "").replace("\\", "")
            lines.append(f'(let ((u (utt.synth (Utterance Text "{clean}"))))')
            lines.append(f' (utt.save.wave u "{folder}/{i}.wav" \'riff) (utt.save.segs u "{folder}/{i}.lab"))')
        script = Path(folder) / "speak.scm"
        script.write_text("\n".join(lines), encoding="latin-1", errors="ignore")
        subprocess.run(["festival", "-b", script], check=False, capture_output=True)
        return [u for i in range(len(texts)) if (u := _festival_result(Path(folder), i, voice)) is not None]


def _festival_result(folder: Path, i: int, voice: str) -> Utterance | None:
    wav, lab = folder / f"{i}.wav", folder / f"{i}.lab"
    if not (wav.exists() and lab.exists()):
        return None  # the voice could not say this text
    samples, rate = soundfile.read(wav, dtype="float32")
    timed, start = [], 0.0
    for row in lab.read_text(encoding="latin-1").splitlines():
        fields = row.split()
        if len(fields) == 3 and fields[0][0].isdigit():
            timed.append((start, float(fields[0]), fields[2]))
            start = float(fields[0])
    classes = visemes_of_arpabet if FESTIVAL_VOICES[voice] == "en" else _visemes_of_festival
    return Utterance(to_16k(samples, rate), spoken_sounds(timed, classes))


def _visemes_of_festival(name: str) -> tuple[str, ...]:
    plain = name.rstrip("0123456789") or name  # stress digits
    return visemes_of_ipa(_FESTIVAL_PHONES.get(plain, plain))
