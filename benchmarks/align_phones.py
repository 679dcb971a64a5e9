"""Phone times of the LJSpeech sentences, for `benchmarks.motion`: writes `ljspeech_phones.csv`.

    python -m benchmarks.align_phones FOLDER

FOLDER holds the recordings (FLAC) and `transcripts.csv`. Needs `pip install pocketsphinx==5.1.1`. Sentences with a
word outside its dictionary are left out.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

from generator.studio.speech_alignment import align, new_decoder

OUT = Path(__file__).with_name("ljspeech_phones.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    decoder = new_decoder()
    with (folder / "transcripts.csv").open(newline="", encoding="utf-8") as file:
        texts = {row["file"].removesuffix(".flac"): row["text"] for row in csv.DictReader(file)}
    rows: list[tuple[str, float, float, str]] = []
    for name, text in sorted(texts.items()):
        phones = align(decoder, folder / f"{name}.flac", text)
        rows += [(name, start, end, phone) for start, end, phone in phones or []]
        print(name, len(phones) if phones else "left out")
    with OUT.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows([("file", "start_s", "end_s", "phone"), *rows])


if __name__ == "__main__":
    main()
