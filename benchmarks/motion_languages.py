"""Languages: speech sounds named right and lips in time, in languages that were trained on and in others.

Every language speaks shuffled words of its own through espeak-ng, degraded like training sound but with other seeds;
the engine tells the exact times of its sounds. Greek, Danish, Hindi, Catalan and Russian were never trained on.

viseme_accuracy       share of speech frames whose look-alike class (of 26) the audio encoder names right
unseen_language_viseme_drop_pct   by how much it is lower, relatively, over unseen languages than over trained ones
av_offset_frames_max  the largest offset, over languages, between made lips and those of the performance model
"""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.interval import bootstrap_interval
from benchmarks.motion_lips import best_offset, driven_gap
from benchmarks.results_page import Row, Rows
from generator.audio_encoder import DELAY_FRAMES
from generator.audio_features import CHANNELS, FRAMES_PER_UNIT
from generator.motion import MotionModel
from generator.motion_visemes import SILENCE
from generator.studio import speech_synthesis as synthesis
from generator.studio.performance import lip_gap_cm
from generator.studio.speech_texts import sentence
from generator.training.motion_dataset import Example, features_of, speech_example

TRAINED = tuple(sorted(set(synthesis.ESPEAK_VOICES.values())))
UNSEEN = tuple(sorted(synthesis.HELD_OUT_VOICES.values()))
TIMBRES = ("", "+m3", "+f2", "+f4")
SEED = 90_210  # not one of the training sets'


def clips_of(language: str, count: int) -> list[Example]:
    """`count` clips of 8 s in changing voices."""
    voices = synthesis.ESPEAK_VOICES | synthesis.HELD_OUT_VOICES
    voice = next(name for name, spoken in voices.items() if spoken == language)
    words, rng = random.Random(f"{SEED}/{language}"), np.random.default_rng([SEED, *language.encode()])
    clips = []
    for index in range(count):
        timbre = TIMBRES[index % len(TIMBRES)]
        said = [synthesis.speak_espeak(sentence(language, words), voice + timbre) for _ in range(3)]
        clips.append(speech_example(said, rng))
    return clips


def right_per_clip(model: MotionModel, clips: list[Example]) -> list[npt.NDArray[np.bool_]]:
    """Per clip: was the class of each speech frame named right."""
    features = torch.from_numpy(features_of([clip.samples for clip in clips])).float()
    features = features.reshape(*features.shape[:2], FRAMES_PER_UNIT, CHANNELS)
    with torch.inference_mode():
        reading, _ = model.encoder(features, model.encoder.start(len(clips)))
    said = reading.sound[:, DELAY_FRAMES:].argmax(-1).numpy()
    out = []
    for clip, row in zip(clips, said, strict=True):
        classes = clip.classes[: len(row)]
        out.append((row == classes)[classes != SILENCE])
    return out


def offset_of(model: MotionModel, clip: Example) -> int:
    """Frames by which the lips come late (positive) or early."""
    made, played = driven_gap(model, clip.samples), lip_gap_cm(clip.mouth)
    return best_offset(made, played, slice(5, len(played) - 5))


def measure_languages(model: MotionModel, clips: int = 8) -> Rows:
    """Rows of all languages."""
    rows: Rows = {}
    right: dict[str, list[npt.NDArray[np.bool_]]] = {}
    offsets: dict[str, int] = {}
    for language in (*TRAINED, *UNSEEN):
        spoken = clips_of(language, clips)
        right[language] = right_per_clip(model, spoken)
        offsets[language] = max((offset_of(model, clip) for clip in spoken[:2]), key=abs)
        flat = np.concatenate(right[language])
        rows[f"viseme_accuracy.{language}"] = {
            "value": float(flat.mean()), "unit": "of speech frames, 26 classes", "n": len(flat),
        }  # fmt: skip
        rows[f"av_offset_frames.{language}"] = {"value": abs(offsets[language]), "unit": "frames", "n": 2}
    rows["unseen_language_viseme_drop_pct"] = drop_row(right)
    rows["av_offset_frames_max_languages"] = {
        "value": max(abs(offset) for offset in offsets.values()), "unit": "frames, worst language", "n": len(offsets),
    }  # fmt: skip
    return rows


def drop_row(right: dict[str, list[npt.NDArray[np.bool_]]]) -> Row:
    """Relative drop in per cent of the mean accuracy, interval over clips."""

    def mean(languages: tuple[str, ...], pick: dict[str, npt.NDArray[np.int64]]) -> float:
        return float(np.mean([np.concatenate([right[name][i] for i in pick[name]]).mean() for name in languages]))

    def drop(draws: npt.NDArray[np.int64]) -> float:
        pick = {name: draws % len(right[name]) for name in right}
        return 100 * (1 - mean(UNSEEN, pick) / mean(TRAINED, pick))

    count = min(len(of_clips) for of_clips in right.values())
    return {
        "value": drop(np.arange(count)),
        "unit": f"% below trained languages ({len(UNSEEN)} unseen, {len(TRAINED)} trained)",
        "n": sum(len(of_clips) for of_clips in right.values()),
        "ci95": bootstrap_interval(count, drop),
    }
