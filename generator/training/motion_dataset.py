r"""Training examples of speech and mouth: synthesised, degraded, labelled; and GRID's real lips, split by talker.

    nice python -m generator.training.motion_dataset --out runs/motion/data --clips 4000 --seed 1 \
        [--grid DIR] [--recordings DIR]

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
RECORDED_VERSIONS = 30
GRID_FACE_CM = 1 / 0.09  # lip_gap of the tracks is relative to the face height; rig gap / lip_gap, all clips


@dataclass(frozen=True)
class Example:
    samples: Samples  # [128000]
    mouth: npt.NDArray[np.float32]  # [200, 17]
    classes: npt.NDArray[np.int64]  # [200]


def speak_many(rng: random.Random, count: int) -> list[Utterance]:
    """`count` utterances of one random voice, engine and speaking rate."""
    engine = rng.choices(["espeak", "flite", "festival"], [0.4, 0.3, 0.3])[0]
    if engine == "espeak":
        voice, language = rng.choice(list(synthesis.ESPEAK_VOICES.items()))
        voice += rng.choice(synthesis.ESPEAK_TIMBRES)
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
    return Example(augment.degrade(samples, rng), mouth, classes)


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
    return Example(np.clip(samples, -1, 1), np.zeros((CLIP_FRAMES, 17), np.float32), np.full(CLIP_FRAMES, SILENCE))


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


def recorded_examples(recordings: list[tuple[Samples, list[SpokenSound]]], rng: np.random.Generator) -> list[Example]:
    """Human speech with aligned phones: the performance model plays the mouth; many degraded versions of each."""
    examples = []
    for sound, phones in recordings:
        for _ in range(RECORDED_VERSIONS):
            lead = pause(rng.uniform(0, 0.8), rng)
            spoken = augment.change_speed(
                Utterance(sound, tuple(phones)), float(np.clip(rng.normal(1, 0.08), 0.85, 1.18))
            )
            lead_s = len(lead) / RATE
            samples = np.concatenate([lead, spoken.samples])
            samples = np.pad(samples, (0, max(0, CLIP_SAMPLES - len(samples))))[:CLIP_SAMPLES].astype(np.float32)
            sounds = [SpokenSound(0, lead_s, "sil")]
            sounds += [SpokenSound(s.start_s + lead_s, s.end_s + lead_s, s.viseme) for s in spoken.sounds]
            sounds.append(SpokenSound(sounds[-1].end_s, CLIP_SAMPLES / RATE + 0.1, "sil"))
            sounds = [s for s in sounds if s.start_s < min(s.end_s, CLIP_SAMPLES / RATE)]
            mouth, classes = frame_targets(sounds, samples, CLIP_FRAMES)
            examples.append(Example(augment.degrade(samples, rng), mouth, classes))
    return examples


def read_recordings(grid: Path | None, folder: Path | None) -> list[tuple[Samples, list[SpokenSound]]]:
    """GRID's training talkers, and every `<name>.wav` with `<name>_phones.csv` in a folder."""
    found = []
    if grid:
        names = [name for name, talker in grid_talkers(grid).items() if talker not in HELD_OUT_TALKERS]
        found += [(read_sound(grid / f"{name}.mpg"), read_phones(grid / f"{name}_phones.csv")) for name in names]
    if folder:
        for path in sorted(folder.glob("*.wav")):
            found.append((read_sound(path), read_phones(path.with_name(f"{path.stem}_phones.csv"))))
    return found


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
    parser.add_argument("--recordings", type=Path, help="folder of <name>.wav with <name>_phones.csv (ARPAbet)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    if args.grid and not (args.out / "grid.npz").exists():
        print("GRID examples:", save_grid(args.grid, args.out / "grid.npz", np.random.default_rng(args.seed)))
    recordings = read_recordings(args.grid, args.recordings)
    if recordings:
        save_shard(
            args.out / "speech_recorded.npz", recorded_examples(recordings, np.random.default_rng([args.seed, 9]))
        )
    for shard in tqdm(range(args.clips // args.shard), disable=None, desc="shards"):
        path = args.out / f"speech_{args.seed}_{shard:04d}.npz"
        if path.exists():
            continue  # a re-run goes on where it stopped
        words, rng = random.Random(f"{args.seed}/{shard}"), np.random.default_rng([args.seed, shard])  # noqa: S311
        examples: list[Example] = []
        while len(examples) < args.shard:
            if words.random() < 0.1:
                examples.append(silent_example(rng))
                continue
            pool = speak_many(words, 8)
            picks = [words.sample(pool, min(len(pool), 3)) for _ in range(len(pool) // 2)]
            examples += [speech_example(pick, rng) for pick in picks]
        save_shard(path, examples[: args.shard])
    print(f"{args.out}: {len(VISEMES)} classes, seed {args.seed}")


if __name__ == "__main__":
    main()
