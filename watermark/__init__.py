"""Invisible and inaudible marks that carry 128 authenticated bits, and their blind detectors."""

from watermark.audio_detector import detect_audio
from watermark.audio_embedder import AudioEmbedder
from watermark.detection import Detection
from watermark.errors import WatermarkError
from watermark.key import MarkKey
from watermark.lattice import LONGEST_ASPECT, SMALLEST_SIDE_PX
from watermark.payload import Payload
from watermark.video_detector import detect_video
from watermark.video_embedder import VideoEmbedder

__all__ = [
    "LONGEST_ASPECT",
    "SMALLEST_SIDE_PX",
    "AudioEmbedder",
    "Detection",
    "MarkKey",
    "Payload",
    "VideoEmbedder",
    "WatermarkError",
    "detect_audio",
    "detect_video",
]
