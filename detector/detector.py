"""Does a clip show a synthetic face? Faces of up to 32 frames, one small network, a calibrated answer or none."""

import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from torch import Tensor

from detector.calibration import Calibration, FeatureRange
from detector.even_sampling import EvenSampler
from detector.face_crops import FaceCrop, face_crops
from detector.frame_model import FrameModel, FrameModelConfig
from detector.pooling import FaceTrack, follow_faces, pooled_logit
from detector.report import DetectorError, DetectorReport, FrameScore, Thresholds

WEIGHTS = Path(__file__).with_name("weights")
WEIGHTS_NAME = "frame_model.safetensors"
SETTINGS_NAME = "frame_model.json"
MIN_DURATION_S = 1.0
MIN_FACE_FRAMES = 5
MIN_FACE_SHARE = 0.25
BATCH = 16  # fixed, so that equal frames give bit-equal scores


class FrameBlockLike(Protocol):
    """What `media.read_frames` yields: frames uint8 [N, 3, H, W] RGB and their times in seconds."""

    @property
    def frames(self) -> Tensor: ...
    @property
    def times(self) -> Sequence[Fraction]: ...


class Detector:
    """Scores clips; holds no state between them."""

    def __init__(
        self, model: FrameModel, calibration: Calibration, feature_range: FeatureRange, digest: str, device: str = "cpu"
    ) -> None:
        self.model = model.eval().to(device)
        self.calibration = calibration
        self.feature_range = feature_range
        self.model_digest = digest
        self.device = device

    @classmethod
    def load(cls, *, device: str = "cpu", folder: Path = WEIGHTS) -> "Detector":
        """The shipped detector. Raises DetectorError when a file is missing, damaged or of another version."""
        try:
            weights = (folder / WEIGHTS_NAME).read_bytes()
            text = (folder / SETTINGS_NAME).read_bytes()
        except OSError as error:
            raise DetectorError(f"detector weights not readable: {error}; reinstall vasari") from error
        try:
            settings: dict[str, Any] = json.loads(text)
            found = hashlib.sha256(weights).hexdigest()
            if settings["weights_sha256"] != found:
                raise DetectorError(
                    f"{folder / WEIGHTS_NAME}: expected SHA-256 {settings['weights_sha256']}, came {found}; "
                    "the file is damaged or of another version, reinstall vasari"
                )
            config = settings["model"] | {"channels": tuple(settings["model"]["channels"])}
            tensors = load_tensors(weights)
            feature_range = FeatureRange(tensors.pop("range.mean"), tensors.pop("range.directions"))
            model = FrameModel(FrameModelConfig(**config))
            model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
            calibration = Calibration(**settings["calibration"])
        except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
            raise DetectorError(f"{folder}: detector weights are damaged ({error}); reinstall vasari") from error
        return cls(model, calibration, feature_range, hashlib.sha256(weights + text).hexdigest(), device)

    def thresholds(self) -> Thresholds:
        c = self.calibration
        return Thresholds(
            probability=c.probability(c.threshold_logit),
            false_positive_rate=c.false_positive_rate,
            calibration_persons=c.persons,
            min_duration_s=MIN_DURATION_S,
            min_face_frames=MIN_FACE_FRAMES,
            min_face_share=MIN_FACE_SHARE,
            min_face_px=c.min_face_px,
            max_distance=c.max_distance,
        )

    def score(self, blocks: Iterable[FrameBlockLike]) -> DetectorReport:
        """Read a clip block by block and judge it.

        Memory holds one block and at most 32 frames' crops, however long the clip. The answer depends on frames and
        times alone, not on the block sizes. Raises DetectorError for blocks that are no uint8 [N, 3, H, W].
        """
        sampler: EvenSampler[list[FaceCrop]] = EvenSampler()
        first_s = last_s = previous_s = None
        for block in blocks:
            _check(block)
            for frame, time in zip(block.frames, block.times, strict=True):
                time_s = float(time)
                first_s = time_s if first_s is None else first_s
                previous_s, last_s = last_s, time_s
                if sampler.wants(time_s):
                    sampler.keep(time_s, face_crops(frame.cpu()))
        if first_s is None or last_s is None:
            return self._abstain("the clip has no frames", ())
        duration_s = last_s - first_s + (last_s - previous_s if previous_s is not None else 0.0)
        return self._judge(sampler.samples(), duration_s)

    def _judge(self, samples: list[tuple[float, list[FaceCrop]]], duration_s: float) -> DetectorReport:
        tracks = follow_faces([crops for _, crops in samples])
        scored = [self._logits(track) for track in tracks]
        frames = self._frame_scores([time for time, _ in samples], tracks, [logits for logits, _ in scored])
        if duration_s < MIN_DURATION_S:
            return self._abstain(f"the clip is {duration_s:.2f} s long, needs {MIN_DURATION_S:g} s", frames)
        needed = max(MIN_FACE_FRAMES, math.ceil(MIN_FACE_SHARE * len(samples)))
        long_enough = [i for i, track in enumerate(tracks) if len(track.samples) >= needed]
        if not long_enough:
            seen = max((len(track.samples) for track in tracks), default=0)
            return self._abstain(f"one face in {seen} of {len(samples)} sampled frames, needs {needed}", frames)
        large = [i for i in long_enough if tracks[i].median_face_px() >= self.calibration.min_face_px]
        if not large:
            largest = max(tracks[i].median_face_px() for i in long_enough)
            return self._abstain(f"face {largest:.0f} px, needs {self.calibration.min_face_px:.0f} px", frames)
        distances = {i: self.feature_range.distance(scored[i][1]) for i in large}
        known = [i for i in large if distances[i] <= self.calibration.max_distance]
        if not known:
            nearest = min(distances.values())
            reason = f"the face is unlike those the detector knows: distance {nearest:.2f}, at most "
            return self._abstain(f"{reason}{self.calibration.max_distance:.2f}", frames, nearest)
        logit, deciding = max((pooled_logit(scored[i][0]), i) for i in known)
        return DetectorReport(
            state="likely_synthetic" if logit > self.calibration.threshold_logit else "no_evidence",
            probability=self.calibration.probability(logit),
            log_likelihood_ratio=self.calibration.log_likelihood_ratio(logit),
            reason="",
            frames=frames,
            thresholds=self.thresholds(),
            model_digest=self.model_digest,
            distance=distances[deciding],
        )

    def _logits(self, track: FaceTrack) -> tuple[Tensor, Tensor]:
        """-> logits [N] and features [N, D] of one face."""
        crops = torch.stack([crop.pixels for crop in track.crops])
        with torch.inference_mode():
            parts = [self.model(batch.to(self.device)) for batch in torch.split(crops, BATCH)]
        return torch.cat([p.logit for p in parts]).cpu(), torch.cat([p.features for p in parts]).cpu()

    def _frame_scores(
        self, times: list[float], tracks: list[FaceTrack], logits: list[Tensor]
    ) -> tuple[FrameScore, ...]:
        """All faces of all sampled frames by time, and a line for each frame without a face."""
        scores = [
            FrameScore(
                time_s=times[sample],
                box=crop.box,
                score=self.calibration.probability(float(logit))
                if crop.face_px >= self.calibration.min_face_px
                else None,
                face_px=crop.face_px,
                face=face,
            )
            for face, (track, values) in enumerate(zip(tracks, logits, strict=True))
            for sample, crop, logit in zip(track.samples, track.crops, values, strict=True)
        ]
        seen = {score.time_s for score in scores}
        scores += [FrameScore(time, None, None, 0.0) for time in times if time not in seen]
        return tuple(sorted(scores, key=lambda score: (score.time_s, score.face or 0)))

    def _abstain(self, reason: str, frames: tuple[FrameScore, ...], distance: float | None = None) -> DetectorReport:
        return DetectorReport("abstained", None, None, reason, frames, self.thresholds(), self.model_digest, distance)


def _check(block: FrameBlockLike) -> None:
    frames = block.frames
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[1] != 3:
        raise DetectorError(f"expected frames uint8 [N, 3, H, W], came {frames.dtype} {list(frames.shape)}")
