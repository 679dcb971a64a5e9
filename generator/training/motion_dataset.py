r"""Training examples of speech and mouth: synthesised, degraded, labelled; and GRID's real lips, split by talker.

    nice python -m generator.training.motion_dataset --out runs/motion/data --clips 4000 --seed 1 \
        [--grid DIR] [--recordings DIR] [--recorded-share 0.5]

Each example lasts 8 s (200 frames): silence, one or more utterances of one voice, pauses; a tenth has no speech
at all. Recordings of people (GRID's training talkers, and a folder whose phones `studio.speech_alignment` found)
join as degraded versions. Shards are .npz files with features float16, mouth weights float16 and classes uint8.
"""

from __future__ import annotations

import argparse
import csv
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tqdm import tqdm

from generator.audio_features import UNIT, AudioFeatures
from generator.controls import FPS
from generator.motion_visemes import SILENCE, VISEMES, visemes_of_arpabet
from generator.studio import speech_augmentation as augment
from generator.studio import speech_synthesis as synthesis
from generator.studio.performance import frame_targets
from generator.studio.speech_synthesis import RATE, Samples, SpokenSound, Utterance
from generator.studio.speech_texts import sentence

CLIP_FRAMES = 200
CLIP_SAMPLES = CLIP_FRAMES * UNIT
HELD_OUT_TALKERS = frozenset("CFHI")  # of GRID: never trained on
SILENT_SHARE = 0.04  # of the draws; an engine's draw gives four examples
SINGING_SHARE = 0.12  # of espeak's examples
SCALE = (-5, -3, -1, 0, 2, 4, 5, 7, 9, 12)  # semitones
GRID_FACE_CM = 1 / 0.09  # lip_gap of the tracks is relative to the face height; rig gap / lip_gap, all clips


@dataclass(frozen=True)
class Example:
    samples: Samples  # [128000]
    mouth: npt.NDArray[np.float32]  # [200, 17]
    classes: npt.NDArray[np.int64]  # [200]
    level_db: npt.NDArray[np.float32]  # [200] of the clean sound, relative to its loud parts; for stress


def speak_many(rng: random.Random, count: int) -> list[Utterance]:
    """`count` utterances of one random voice, engine and speaking rate."""
    engine = rng.choices(["espeak", "flite", "festival"], [0.4, 0.3, 0.3])[0]
    if engine == "espeak":
        voice, language = rng.choice(list(synthesis.ESPEAK_VOICES.items()))
        voice += rng.choice(synthesis.ESPEAK_TIMBRES)
        if rng.random() < SINGING_SHARE:
            songs = [[rng.choice(SCALE) for _ in range(8)] for _ in range(count)]
            slow = rng.randint(70, 140)
            return [synthesis.sing_espeak(sentence(language, rng), voice, song, rate_wpm=slow) for song in songs]
        how = {"rate_wpm": rng.randint(110, 230), "pitch": rng.randint(15, 85), "pitch_range": rng.randint(20, 90)}
        return [synthesis.speak_espeak(sentence(language, rng), voice, **how) for _ in range(count)]
    stretch = rng.uniform(0.75, 1.35)
    if engine == "flite":
        voice = rng.choice(synthesis.FLITE_VOICES)
        return [synthesis.speak_flite(sentence("en", rng), voice, stretch=stretch) for _ in range(count)]
    voice, language = rng.choice(list(synthesis.FESTIVAL_VOICES.items()))
    return synthesis.speak_festival([sentence(language, rng) for _ in range(count)], voice, stretch=stretch)


def speech_example(utterances: list[Utterance], rng: np.random.Generator) -> Example:
    """Utterances in a row with pauses, cut to 8 s, labelled, then degraded."""
    factor = float(np.clip(rng.normal(1, 0.1), 0.8, 1.25))
    samples = pause(rng.uniform(0, 1.2), rng)
    sounds = [SpokenSound(0, len(samples) / RATE, "sil")]
    for u in utterances:
        u = augment.change_speed(u, factor)
        start_s = len(samples) / RATE
        sounds += [SpokenSound(s.start_s + start_s, s.end_s + start_s, s.viseme) for s in u.sounds]
        gap = pause(rng.choice([rng.uniform(0.05, 0.4), rng.uniform(0.4, 2.0)]), rng)
        peak = np.abs(u.samples).max() + 1e-6
        samples = np.concatenate([samples, u.samples / peak * rng.uniform(0.5, 1), gap])
        sounds.append(SpokenSound((len(samples) - len(gap)) / RATE, len(samples) / RATE, "sil"))
    samples = np.pad(samples, (0, max(0, CLIP_SAMPLES - len(samples))))[:CLIP_SAMPLES].astype(np.float32)
    sounds = [s for s in sounds if s.start_s < CLIP_SAMPLES / RATE]
    sounds[-1] = SpokenSound(sounds[-1].start_s, max(sounds[-1].end_s, CLIP_SAMPLES / RATE), sounds[-1].viseme)
    mouth, classes = frame_targets(sounds, samples, CLIP_FRAMES)
    return Example(augment.degrade(samples, rng), mouth, classes, frame_level_db(samples))


def frame_level_db(samples: Samples) -> npt.NDArray[np.float32]:
    """[200] level of each frame, 0 where it is as loud as the loudest tenth, -60 at least."""
    energy = (samples[:CLIP_SAMPLES].astype(np.float64).reshape(CLIP_FRAMES, UNIT) ** 2).mean(1)
    level = 10 * np.log10(energy + 1e-9)
    return np.asarray(np.maximum(level - np.percentile(level, 90), -60), np.float32)


def pause(duration_s: float, rng: np.random.Generator) -> Samples:
    """Silence, or half the time breaths, clicks and rustle well below the level of speech; the lips rest."""
    samples = np.zeros(int(duration_s * RATE), np.float32)
    if len(samples) > RATE // 5 and rng.random() < 0.5:
        level = 10 ** (rng.uniform(-45, -18) / 20)
        noise = augment.noises_of_people_and_things(len(samples), rng)
        samples += noise * level * np.hanning(len(samples)).astype(np.float32) ** 0.25
    return samples


def silent_example(rng: np.random.Generator) -> Example:
    """8 s without speech: noise, music, breaths, or digital silence; the lips rest."""
    kinds = [augment.coloured_noise, augment.music, augment.noises_of_people_and_things]
    samples = np.zeros(CLIP_SAMPLES, np.float32)
    for start in range(0, CLIP_SAMPLES, CLIP_SAMPLES // 4):
        part = samples[start : start + CLIP_SAMPLES // 4]
        if rng.random() < 0.8:
            part += kinds[rng.integers(3)](len(part), rng) * 10 ** (rng.uniform(-55, -18) / 20)
    rest, quiet = np.zeros((CLIP_FRAMES, 17), np.float32), np.full(CLIP_FRAMES, -60, np.float32)
    return Example(np.clip(samples, -1, 1), rest, np.full(CLIP_FRAMES, SILENCE), quiet)


def features_of(recordings: list[Samples]) -> npt.NDArray[np.float16]:
    """[B][128000] -> [B, 200, 168]."""
    extractor, sound = AudioFeatures(), torch.from_numpy(np.stack(recordings))
    state, units = extractor.start(len(recordings)), []
    for start in range(0, sound.shape[1], UNIT):
        features, state = extractor.step(sound[:, start : start + UNIT], state)
        units.append(features.flatten(1))
    return np.asarray(torch.stack(units, 1).half().numpy())


def save_shard(path: Path, examples: list[Example]) -> None:
    temporary = path.with_suffix(".tmp.npz")
    np.savez(
        temporary,
        features=features_of([e.samples for e in examples]),
        mouth=np.stack([e.mouth for e in examples]).astype(np.float16),
        classes=np.stack([e.classes for e in examples]).astype(np.uint8),
        level_db=np.stack([e.level_db for e in examples]).astype(np.float16),
    )
    temporary.rename(path)


def read_sound(clip: Path) -> Samples:
    """float32 mono at 16 kHz of any clip or recording."""
    import av

    with av.open(str(clip)) as container:
        resampler = av.AudioResampler("flt", "mono", RATE)
        blocks = [r.to_ndarray()[0] for f in container.decode(audio=0) for r in resampler.resample(f)]
        blocks += [r.to_ndarray()[0] for r in resampler.resample(None)]
    return np.concatenate(blocks).astype(np.float32)


def read_phones(path: Path) -> list[SpokenSound]:
    """Sounds of a `*_phones.csv` (start_s, end_s, ARPAbet phone, word)."""
    with path.open(newline="") as file:
        timed = [(float(r["start_s"]), float(r["end_s"]), r["phone"]) for r in csv.DictReader(file)]
    return list(synthesis.spoken_sounds(timed, visemes_of_arpabet))


def read_recordings(grid: Path | None, folders: list[Path]) -> list[list[Utterance]]:
    """By voice: GRID's training talkers, and of each folder every `<name>.wav` with its `<name>_phones.csv`."""
    talkers: dict[str, list[Utterance]] = {}
    for name, talker in (grid_talkers(grid) if grid else {}).items():
        if grid and talker not in HELD_OUT_TALKERS:
            sounds = tuple(read_phones(grid / f"{name}_phones.csv"))
            talkers.setdefault(talker, []).append(Utterance(read_sound(grid / f"{name}.mpg"), sounds))
    for folder in folders:
        for path in sorted(folder.glob("*.wav")):
            timed = path.with_name(f"{path.stem}_phones.csv")
            if timed.exists():
                talkers.setdefault(str(folder), []).append(Utterance(read_sound(path), tuple(read_phones(timed))))
    return list(talkers.values())


def recorded_example(voices: list[list[Utterance]], rng: np.random.Generator) -> Example:
    """Human speech with aligned phones: the performance model plays the mouth."""
    sizes = np.array([min(sum(u.duration_s for u in voice), 60.0) for voice in voices])
    voice = voices[rng.choice(len(voices), p=sizes / sizes.sum())]
    picks, seconds = [], 0.0
    while seconds < CLIP_SAMPLES / RATE - 1:
        picks.append(voice[rng.integers(len(voice))])
        seconds += picks[-1].duration_s + 0.3
    return speech_example(picks, rng)


def grid_talkers(folder: Path) -> dict[str, str]:
    """Clip name -> talker letter."""
    with (folder / "index.csv").open(newline="") as file:
        return {row["file"].removesuffix(".mpg"): row["talker"] for row in csv.DictReader(file)}


def save_grid(folder: Path, out: Path, rng: np.random.Generator, *, versions: int = 24) -> int:
    """Augmented sound, tracked lip gap in cm and classes of the talkers that may be trained on."""
    recordings, gaps, classes = [], [], []
    for name, talker in grid_talkers(folder).items():
        if talker in HELD_OUT_TALKERS:
            continue
        sound, phones = read_sound(folder / f"{name}.mpg"), read_phones(folder / f"{name}_phones.csv")
        gap = np.load(folder / f"{name}_motion.npz")["lip_gap"] * GRID_FACE_CM
        for _ in range(versions):
            lead = int(rng.integers(0, 60))  # frames of silence before the clip
            padded = np.zeros(CLIP_SAMPLES, np.float32)
            padded[lead * UNIT : lead * UNIT + len(sound)] = sound[: CLIP_SAMPLES - lead * UNIT]
            shifted = [SpokenSound(s.start_s + lead / FPS, s.end_s + lead / FPS, s.viseme) for s in phones]
            _, label = frame_targets([SpokenSound(0, lead / FPS, "sil"), *shifted], padded, CLIP_FRAMES)
            label[lead + len(gap) :] = SILENCE
            target = np.full(CLIP_FRAMES, np.nan, np.float32)
            target[lead : lead + len(gap)] = gap
            target[label == SILENCE] = np.nan  # these talkers rest with open lips: only their speech counts
            recordings.append(augment.degrade(padded, rng))
            gaps.append(target)
            classes.append(label)
    np.savez(
        out,
        features=np.concatenate([features_of(recordings[i : i + 32]) for i in range(0, len(recordings), 32)]),
        gap=np.stack(gaps),
        classes=np.stack(classes).astype(np.uint8),
    )
    return len(recordings)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/motion/data"))
    parser.add_argument("--clips", type=int, default=4000)
    parser.add_argument("--shard", type=int, default=100, help="clips per file")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--grid", type=Path, help="folder with the GRID clips, tracks and phones")
    parser.add_argument(
        "--recordings", type=Path, action="append", default=[],
        help="folder of one voice, <name>.wav with <name>_phones.csv (ARPAbet); may be given again",
    )  # fmt: skip
    parser.add_argument("--recorded-share", type=float, default=0.0, help="part of the clips that are recordings")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.grid and not (args.out / "grid.npz").exists():
        print("GRID examples:", save_grid(args.grid, args.out / "grid.npz", np.random.default_rng(args.seed)))
    voices = read_recordings(args.grid, args.recordings)
    for shard in tqdm(range(args.clips // args.shard), disable=None, desc="shards"):
        path = args.out / f"speech_{args.seed}_{shard:04d}.npz"
        if path.exists():
            continue  # a re-run goes on where it stopped
        words, rng = random.Random(f"{args.seed}/{shard}"), np.random.default_rng([args.seed, shard])  # noqa: S311
        save_shard(path, make_examples(args.shard, voices, args.recorded_share, words, rng))
    print(f"{args.out}: {len(VISEMES)} classes, seed {args.seed}")


def make_examples(
    count: int, voices: list[list[Utterance]], recorded_share: float, words: random.Random, rng: np.random.Generator
) -> list[Example]:
    examples: list[Example] = []
    while len(examples) < count:
        if words.random() < SILENT_SHARE:
            examples.append(silent_example(rng))
        elif voices and words.random() < recorded_share:
            examples.append(recorded_example(voices, rng))
        elif pool := speak_many(words, 8):
            picks = [words.sample(pool, min(len(pool), 3)) for _ in range(len(pool) // 2)]
            examples += [speech_example(pick, rng) for pick in picks]
    return examples[:count]


if __name__ == "__main__":
    main()
