"""Phone times of the LJSpeech sentences, for `benchmarks.motion`: writes `ljspeech_phones.csv`.

    python -m benchmarks.align_phones FOLDER

FOLDER holds the recordings (FLAC) and `transcripts.csv`. Needs `pip install pocketsphinx==5.1.1 soundfile`, whose
wheel carries an English acoustic model; against a synthesiser's own times its starts are within 9 to 11 ms (median).
Sentences with a word outside its dictionary are left out.
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

OUT = Path(__file__).with_name("ljspeech_phones.csv")
RATE = 16_000


def align(decoder: Any, path: Path, text: str) -> list[tuple[float, float, str]] | None:
    """(start_s, end_s, ARPAbet phone), or None when a word is unknown or the text does not fit."""
    words = re.sub(r"[^a-z' ]", " ", text.lower()).split()
    if any(decoder.lookup_word(word) is None for word in words):
        return None
    samples, rate = soundfile.read(path, dtype="float32")
    samples = scipy.signal.resample_poly(samples, 320, 441) if rate == 22050 else samples
    sound = (samples / np.abs(samples).max() * 0.9 * 32767).astype(np.int16).tobytes()
    decoder.set_align_text(" ".join(words))
    for phones_too in (False, True):  # words first, then the phones within them
        if phones_too:
            decoder.set_alignment()
        decoder.start_utt()
        decoder.process_raw(sound, full_utt=True)
        decoder.end_utt()
    found = decoder.get_alignment()
    if found is None:
        return None
    return [(p.start / 100, (p.start + p.duration) / 100, p.name) for word in found for p in word]


def main() -> None:
    from pocketsphinx import Decoder

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    decoder = Decoder(samprate=RATE, bestpath=False, loglevel="FATAL")
    with (folder / "transcripts.csv").open(newline="", encoding="utf-8") as file:
        texts = {row["file"].removesuffix(".flac"): row["text"] for row in csv.DictReader(file)}
    rows = []
    for name, text in sorted(texts.items()):
        phones = align(decoder, folder / f"{name}.flac", text)
        rows += [(name, start, end, phone) for start, end, phone in phones or []]
        print(name, len(phones) if phones else "left out")
    with OUT.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "start_s", "end_s", "phone"), *rows])


if __name__ == "__main__":
    main()
