"""Makes the recordings that the sound's mark is measured on: FOLDER/GROUP/NAME.flac, mono, 48 kHz, 7.5 s each.

    python -m benchmarks.watermark_voices --work FOLDER --natural read_female=LJSPEECH --natural film=CLIPS

Synthetic speakers of both sexes come from espeak-ng, flite and festival (see generator/studio/speech_synthesis.py);
an engine that isn't installed is left out and said so. Natural speech is cut from the sound and video files of the
folders given, each under the name of its group. A file is laid end to end with the next of the same folder unless
`--apart`, so that short sentences of one speaker fill a recording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import click
import numpy as np
import soundfile
import torch
from numpy.typing import NDArray
from torchaudio.functional import resample

from generator.studio.speech_synthesis import RATE as SYNTHESIS_RATE
from generator.studio.speech_synthesis import Utterance, speak_espeak, speak_festival, speak_flite
from media import MediaError, load_audio

RATE = 48_000
LENGTH_S = 7.5
TEXT = (
    "The ship went slowly up the river before the wind, and every hour the man at the wheel called out the depth. "
    "Nobody on deck had slept, for the pilot had promised them a harbour by the evening."
)
TEXT_OF = {
    "it": "La nave risaliva lentamente il fiume davanti al vento, e ogni ora il marinaio gridava la profondita. "
    "Nessuno aveva dormito, perche il pilota aveva promesso un porto prima di sera.",
    "cs": "Lod plula pomalu proti proudu reky a kazdou hodinu muz u kormidla hlasil hloubku vody. "
    "Nikdo na palube nespal, protoze jim kapitan slibil pristav jeste pred vecerem.",
    "fi": "Laiva kulki hitaasti jokea ylos tuulen edella, ja joka tunti ruorimies huusi veden syvyyden. "
    "Kukaan kannella ei ollut nukkunut, silla luotsi oli luvannut sataman ennen iltaa.",
}
FESTIVAL = {
    "synthetic_female": {
        "voice_cmu_us_slt_arctic_hts": "en", "voice_lp_diphone": "it", "voice_czech_dita": "cs",
        "voice_suo_fi_lj_diphone": "fi",
    },
    "synthetic_male": {
        "voice_kal_diphone": "en", "voice_ked_diphone": "en", "voice_pc_diphone": "it", "voice_czech_machac": "cs",
        "voice_hy_fi_mv_diphone": "fi",
    },
}  # fmt: skip
FLITE = {"synthetic_female": ("slt",), "synthetic_male": ("rms", "awb", "kal16")}
ESPEAK = {
    "synthetic_female": ("en-us+f1", "en-gb-x-rp+f2", "de+f3", "fr+f4", "es+f5", "it+Annie", "en-us+steph"),
    "synthetic_male": ("en-us+m1", "en-gb-scotland+m3", "de+m4", "nl+m7", "pt-br+Andy"),
}
Samples = NDArray[np.float32]


def synthetic() -> Iterator[tuple[str, str, Samples]]:
    """(group, name, samples at 48 kHz) of every synthetic speaker that can be had here."""
    for group in FESTIVAL:
        speakers: list[tuple[str, Callable[[], Utterance]]] = [
            (f"festival_{voice}", partial(_festival, TEXT_OF.get(tongue, TEXT), voice))
            for voice, tongue in FESTIVAL[group].items()
        ]
        speakers += [(f"flite_{voice}", partial(speak_flite, TEXT, voice)) for voice in FLITE[group]]
        speakers += [
            (f"espeak_{voice}", partial(speak_espeak, TEXT_OF.get(voice[:2], TEXT), voice)) for voice in ESPEAK[group]
        ]
        for name, speak in speakers:
            try:
                sound = speak().samples
            except (OSError, IndexError, ValueError) as error:
                click.echo(f"{name}: left out, {error}", err=True)
                continue
            yield group, name, resample(torch.from_numpy(sound), SYNTHESIS_RATE, RATE).numpy()


def _festival(text: str, voice: str) -> Utterance:
    return speak_festival([text], voice)[0]


def natural(folder: Path, apart: bool) -> Iterator[tuple[str, Samples]]:
    """(name, samples) of every file with sound below a folder, or of all of them end to end."""
    waiting: list[Samples] = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        try:
            sound = load_audio(path, sample_rate=RATE, max_s=600.0).numpy()
        except MediaError:
            continue
        if apart:
            yield path.stem, sound
        else:
            waiting.append(sound)
    if waiting:
        yield folder.name, np.concatenate(waiting)


def write_pieces(folder: Path, name: str, sound: Samples) -> int:
    """Whole pieces of LENGTH_S, at -23 dB RMS (less where the peak forbids it)."""
    size = round(LENGTH_S * RATE)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(len(sound) // size):
        piece = sound[index * size : (index + 1) * size]
        gain = min(
            10 ** (-23 / 20) / max(float(np.sqrt(np.mean(piece**2))), 1e-9), 0.95 / max(np.abs(piece).max(), 1e-9)
        )
        soundfile.write(folder / f"{name}_{index:02d}.flac", piece * gain, RATE, subtype="PCM_16")
    return len(sound) // size


@click.command(help=__doc__)
@click.option("--work", required=True, type=click.Path(path_type=Path, file_okay=False))
@click.option("--natural", "folders", multiple=True, help="GROUP=FOLDER, more than once if wished.")
@click.option("--apart/--end-to-end", default=False, help="Whether the files of a folder are different speakers.")
@click.option("--no-synthetic", is_flag=True)
def main(work: Path, folders: tuple[str, ...], apart: bool, no_synthetic: bool) -> None:
    for given in folders:
        group, _, folder = given.partition("=")
        if not Path(folder).is_dir():
            raise click.BadParameter(f"expected GROUP=FOLDER with an existing folder, got {given!r}")
        for name, sound in natural(Path(folder), apart):
            click.echo(f"{group}: {write_pieces(work / group, name, sound)} of {name}")
    if not no_synthetic:
        for group, name, sound in synthetic():
            click.echo(f"{group}: {write_pieces(work / group, name, sound)} of {name}")


if __name__ == "__main__":
    main()
