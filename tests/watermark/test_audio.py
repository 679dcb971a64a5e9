"""The sound mark is quiet, survives what people do to sound, and is found nowhere else."""

import pytest
import torch
from torch import Tensor
from torchaudio.functional import resample

from benchmarks.watermark_audio_attacks import Attack, chosen
from benchmarks.watermark_clips import speech
from media import audio_round_trip
from tests.watermark.conftest import KEY, OTHER_KEY, PAYLOAD, SOUND_RATE, mark_sound
from watermark import AudioEmbedder, Detection, WatermarkError, detect_audio


def look(samples: Tensor, *, sample_rate: int = SOUND_RATE) -> Detection:
    return detect_audio(
        [samples[at : at + sample_rate] for at in range(0, len(samples), sample_rate)], [KEY], sample_rate=sample_rate
    )


def snr_db(original: Tensor, marked: Tensor) -> float:
    return float(10 * torch.log10(original.square().sum() / (original - marked).square().sum()))


def test_a_clean_mark_gives_payload_key_id_and_bound(marked_voice: Tensor) -> None:
    detection = detect_audio([marked_voice], [OTHER_KEY, KEY], sample_rate=SOUND_RATE)
    assert (detection.medium, detection.payload, detection.key_id) == ("audio", PAYLOAD, KEY.key_id)
    assert detection.log10_false_positive <= -11


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_mark_lies_28_db_below_the_speech(seed: int) -> None:
    original = speech(4.0, sample_rate=SOUND_RATE, seed=seed)
    assert snr_db(original, mark_sound(original)) >= 28


def test_it_can_be_marked_where_no_gradient_is_recorded(voice: Tensor, marked_voice: Tensor) -> None:
    with torch.inference_mode():
        assert torch.equal(mark_sound(voice.clone()), marked_voice)


def test_it_survives_aac_at_64_kbit_s(compressed_voice: Tensor) -> None:
    assert look(compressed_voice).payload == PAYLOAD


@pytest.mark.parametrize("cut", [1, 30_000])
def test_it_is_found_in_five_seconds_from_any_start(compressed_voice: Tensor, cut: int) -> None:
    assert look(compressed_voice[cut : cut + 5 * SOUND_RATE]).payload == PAYLOAD


def test_gain_and_polarity_do_not_matter(compressed_voice: Tensor) -> None:
    assert look(compressed_voice * -0.05).payload == PAYLOAD


@pytest.mark.parametrize(
    "attack",
    chosen(
        "mp3_64k,opus_32k,resample_8k,band_300_3400,noise_20db,reverb,speed_90,speed_110,tempo_90,tempo_110,cut_middle"
    ),
    ids=lambda attack: attack.name,
)
def test_five_seconds_survive(marked_voice: Tensor, attack: Attack) -> None:
    assert look(attack(marked_voice[20_000 : 20_000 + 5 * SOUND_RATE])).payload == PAYLOAD


@pytest.mark.parametrize("rate", [16_000, 22_050, 44_100])
def test_it_survives_resampling(compressed_voice: Tensor, rate: int) -> None:
    assert look(resample(compressed_voice, SOUND_RATE, rate), sample_rate=rate).payload == PAYLOAD


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_any_rate_can_be_marked(rate: int) -> None:
    marked = mark_sound(speech(6.0, sample_rate=rate, seed=4), sample_rate=rate)
    assert look(audio_round_trip(marked, sample_rate=rate), sample_rate=rate).payload == PAYLOAD


def test_block_sizes_do_not_change_a_bit_and_the_length_stays(voice: Tensor, marked_voice: Tensor) -> None:
    embedder = AudioEmbedder(KEY, PAYLOAD, sample_rate=SOUND_RATE)
    sizes = [0, 1, 999, 48_000, 100_000, len(voice) - 149_000]
    parts = [embedder.push(part) for part in torch.split(voice, sizes)]
    out = torch.cat([*parts, embedder.flush()])
    assert torch.equal(out, marked_voice)
    assert len(out) == len(voice)


def test_a_stream_shorter_than_one_stretch_keeps_its_length() -> None:
    assert len(mark_sound(speech(0.05, sample_rate=SOUND_RATE))) == round(0.05 * SOUND_RATE)


def test_output_lags_by_less_than_a_second(voice: Tensor) -> None:
    embedder = AudioEmbedder(KEY, PAYLOAD, sample_rate=SOUND_RATE)
    assert len(embedder.push(voice[: 2 * SOUND_RATE])) >= SOUND_RATE


def test_unmarked_speech_has_no_mark(voice: Tensor) -> None:
    assert not look(voice).found


def test_another_key_finds_nothing(marked_voice: Tensor) -> None:
    assert not detect_audio([marked_voice], [OTHER_KEY], sample_rate=SOUND_RATE).found


def test_silence_stays_silent_and_counts_no_seconds() -> None:
    silence = mark_sound(torch.zeros(3 * SOUND_RATE))
    assert float(silence.abs().max()) == 0
    detection = look(silence)
    assert not detection.found
    assert detection.seconds_used < 0.1


def test_a_mark_late_in_a_long_recording_is_found(marked_voice: Tensor) -> None:
    before = speech(13.0, sample_rate=SOUND_RATE, seed=9)
    assert look(torch.cat([before, marked_voice])).payload == PAYLOAD


@pytest.mark.parametrize("rate", [8_000, 16_001, 400_000])
def test_rates_that_can_not_be_worked_with_are_refused(rate: int) -> None:
    with pytest.raises(WatermarkError, match=str(rate)):
        AudioEmbedder(KEY, PAYLOAD, sample_rate=rate)
    with pytest.raises(WatermarkError, match=str(rate)):
        detect_audio([torch.zeros(rate)], [KEY], sample_rate=rate)


@pytest.mark.parametrize(
    "samples", [torch.zeros(10, dtype=torch.float64), torch.zeros(2, 10), torch.full((10,), float("nan"))]
)
def test_sound_of_another_type_or_shape_is_refused(samples: Tensor) -> None:
    with pytest.raises(WatermarkError):
        AudioEmbedder(KEY, PAYLOAD, sample_rate=SOUND_RATE).push(samples)


def test_too_short_a_recording_is_an_error(voice: Tensor) -> None:
    with pytest.raises(WatermarkError, match=r"0\.50 s"):
        look(voice[: SOUND_RATE // 2])


def test_a_flushed_embedder_takes_no_more(voice: Tensor) -> None:
    embedder = AudioEmbedder(KEY, PAYLOAD, sample_rate=SOUND_RATE)
    embedder.flush()
    with pytest.raises(WatermarkError, match="flushed"):
        embedder.push(voice)
