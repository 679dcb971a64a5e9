"""Phone times of recorded English by the acoustic model inside the pocketsphinx wheel (5.1.1, BSD-like).

    python -m generator.studio.speech_alignment FOLDER     for each <name>.wav with <name>.txt: <name>_phones.csv

Two passes of one decoder: words first, then the phones within them. Against flite's own times the starts are within
9 to 11 ms (median). Needs `pip install pocketsphinx==5.1.1`; numbers must be spelt out.
"""

from __future__ import annotations

import argparse
import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import scipy.signal
import soundfile

RATE = 16_000
TimedPhone = tuple[float, float, str]  # start_s, end_s, ARPAbet phone or SIL


def new_decoder() -> Any:
    """One decoder serves many recordings."""
    from pocketsphinx import Decoder  # type: ignore[import-not-found]

    return Decoder(samprate=RATE, bestpath=False, loglevel="FATAL")


def align(decoder: Any, path: Path, text: str) -> list[TimedPhone] | None:
    """Phones of a recording, or None when a word is not in the dictionary or the text does not fit."""
    words = re.sub(r"[^a-z' ]", " ", text.lower()).split()
    if any(decoder.lookup_word(word) is None for word in words):
        return None
    samples, rate = soundfile.read(path, dtype="float32")
    common = int(np.gcd(rate, RATE))
    samples = scipy.signal.resample_poly(samples, RATE // common, rate // common)
    sound = (samples / np.abs(samples).max() * 0.9 * 32767).astype(np.int16).tobytes()
    decoder.set_align_text(" ".join(words))
    for phones_too in (False, True):
        if phones_too:
            decoder.set_alignment()
        decoder.start_utt()
        decoder.process_raw(sound, full_utt=True)
        decoder.end_utt()
    found = decoder.get_alignment()
    if found is None:
        return None
    return [(p.start / 100, (p.start + p.duration) / 100, p.name) for word in found for p in word]


def write_phones(path: Path, phones: list[TimedPhone]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("start_s", "end_s", "phone"), *phones])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    decoder = new_decoder()
    for path in sorted(parser.parse_args().folder.glob("*.wav")):
        phones = align(decoder, path, path.with_suffix(".txt").read_text(encoding="utf-8"))
        if phones is None:
            print(f"{path.name}: left out, a word is unknown or the text does not fit")
            continue
        write_phones(path.with_name(f"{path.stem}_phones.csv"), phones)
        print(f"{path.name}: {len(phones)} phones")


if __name__ == "__main__":
    main()
