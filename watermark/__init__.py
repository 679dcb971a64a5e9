"""Invisible and inaudible marks that carry 128 authenticated bits, and their blind detectors."""

from watermark.audio_detector import detect_audio
from watermark.audio_embedder import AudioEmbedder
from watermark.audio_localise import locate_sound_mark
from watermark.detection import MOST_ATTEMPTS, Detection
from watermark.errors import TooShortError, TooSmallError, WatermarkError
from watermark.key import KEY_IDS, MarkKey
from watermark.lattice import LONGEST_ASPECT, SMALLEST_SIDE_PX
from watermark.localise import MarkedStretch, locate_mark
from watermark.payload import TAG_BITS, Payload
from watermark.pose import Pose
from watermark.still_detector import detect_still
from watermark.video_detector import detect_video
from watermark.video_embedder import VideoEmbedder

__all__ = [
    "KEY_IDS",
    "LONGEST_ASPECT",
    "MOST_ATTEMPTS",
    "SMALLEST_SIDE_PX",
    "TAG_BITS",
    "AudioEmbedder",
    "Detection",
    "MarkKey",
    "MarkedStretch",
    "Payload",
    "Pose",
    "TooShortError",
    "TooSmallError",
    "VideoEmbedder",
    "WatermarkError",
    "detect_audio",
    "detect_still",
    "detect_video",
    "locate_mark",
    "locate_sound_mark",
]
