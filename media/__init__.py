"""Frames and sound in and out: streaming decode and encode, portraits, faces, codec round trips."""

from media.audio_reader import load_audio, read_audio
from media.clip_writer import ClipWriter
from media.codec_round_trip import audio_round_trip, codec_round_trip
from media.errors import MediaError
from media.faces import MAX_FACES, Face, crop_face, find_faces, number_faces, segment_person
from media.fragment_times import start_fragments_at
from media.guarded_input import Source
from media.live_sound import LIVE_SOUND, LiveSound, PcmFormat
from media.portrait import read_portrait
from media.probe import MediaInfo, probe
from media.video_reader import FrameBlock, read_frames

__all__ = [
    "LIVE_SOUND",
    "MAX_FACES",
    "ClipWriter",
    "Face",
    "FrameBlock",
    "LiveSound",
    "MediaError",
    "MediaInfo",
    "PcmFormat",
    "Source",
    "audio_round_trip",
    "codec_round_trip",
    "crop_face",
    "find_faces",
    "load_audio",
    "number_faces",
    "probe",
    "read_audio",
    "read_frames",
    "read_portrait",
    "segment_person",
    "start_fragments_at",
]
