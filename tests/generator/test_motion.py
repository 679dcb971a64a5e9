"""Promises of the motion model that hold for any weights: causality, exact streaming, length, closure, stillness."""

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from generator import EXPRESSION_INDEX, Controls, Curve, EmotionCurve, GeneratorError, MotionBlock
from generator.audio_encoder import DELAY_FRAMES, AudioEncoder, EncoderConfig, heard_size
from generator.lip_opening import LipOpening
from generator.motion import LOOK_AHEAD_S, MotionModel, SpeechMotionState
from generator.motion_face import mouth_with_opening, speech_mouth
from generator.motion_mouth import LIP_GAP_CM, MOUTH_AXES, REST_GAP_CM, columns
from generator.motion_transformer import BLOCK, MotionTransformer, TransformerConfig

GAPS = torch.tensor([LIP_GAP_CM[axis] for axis in MOUTH_AXES])


@pytest.fixture(scope="module")
def model() -> MotionModel:
    torch.manual_seed(0)
    encoder = AudioEncoder(EncoderConfig(width=32, blocks=2))
    flow = MotionTransformer(TransformerConfig(audio=heard_size(encoder.config), width=32, layers=2, heads=2, past=3))
    with torch.no_grad():
        encoder.mouth.bias += 0.2  # a mouth that moves
        encoder.flags.bias[1] += 2.0  # and believes that somebody speaks
        flow.out.weight.normal_(0, 0.03)
        flow.spread.fill_(0.2)
        lips = LipOpening()
        lips.correction.weight.normal_(0, 0.02)
    return MotionModel(encoder, flow, lips)


@pytest.fixture(scope="module")
def sound() -> Tensor:
    """Two seconds and a bit of bursts."""
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(34_567, generator=generator) * 0.1
    return noise * (torch.sin(torch.arange(34_567) / 1500) > 0)


def play(model: MotionModel, sound: Tensor, chunks: list[int], controls: Controls, seed: int = 5) -> MotionBlock:
    """Feeds chunks of the given sizes, in turn, and flushes with the last one."""
    state, blocks, at, i = model.start(controls, seed), [], 0, 0
    while True:
        size = chunks[i % len(chunks)]
        last = at + size >= len(sound)
        block, state = model.step(sound[at : at + size], state, final=last)
        blocks.append(block)
        at, i = at + size, i + 1
        if last:
            return MotionBlock.join(blocks)


def assert_same(a: MotionBlock, b: MotionBlock) -> None:
    assert torch.equal(a.pose, b.pose)
    assert torch.equal(a.expression, b.expression)
    assert torch.equal(a.gaze, b.gaze)


@pytest.mark.parametrize("chunks", [[1, 639, 641], [160], [640], [7, 5000, 333], [16_001]])
def test_any_chunking_gives_bit_equal_motion(model: MotionModel, sound: Tensor, chunks: list[int]) -> None:
    whole = play(model, sound, [len(sound)], Controls(emotion="happy"))
    assert_same(play(model, sound, chunks, Controls(emotion="happy")), whole)


def test_flushing_with_nothing_equals_flushing_with_the_last_chunk(model: MotionModel, sound: Tensor) -> None:
    state = model.start(Controls(), 5)
    first, state = model.step(sound, state)
    rest, _ = model.step(torch.zeros(0), state, final=True)
    assert_same(MotionBlock.join([first, rest]), play(model, sound, [len(sound)], Controls()))


@pytest.mark.parametrize("samples", [0, 1, 639, 640, 641, 1600, 2560, 16_000, 16_001])
def test_frames_are_the_seconds_times_25_rounded_up(model: MotionModel, samples: int) -> None:
    block = play(model, torch.randn(samples) * 0.1, [1000], Controls())
    assert len(block) == -(-samples * 25 // 16_000)


def test_equal_seeds_give_equal_motion_and_others_do_not(model: MotionModel, sound: Tensor) -> None:
    a, b = (play(model, sound, [4000], Controls(), seed=9) for _ in range(2))
    assert_same(a, b)
    other = play(model, sound, [4000], Controls(), seed=10)
    assert not torch.equal(a.pose, other.pose)


def test_a_state_is_a_value_that_can_be_continued_twice(model: MotionModel, sound: Tensor) -> None:
    _, state = model.step(sound[:9000], model.start(Controls(), 2))
    once, _ = model.step(sound[9000:], state, final=True)
    again, _ = model.step(sound[9000:], state, final=True)
    assert_same(once, again)


def test_look_ahead_is_as_stated(model: MotionModel, sound: Tensor) -> None:
    """Sound later than the look-ahead after a frame's start can't change the frame."""
    reach = round(LOOK_AHEAD_S * 16_000)
    frame = 20  # the first of a block
    changed = sound.clone()
    changed[frame * 640 + reach :] = torch.randn(len(sound) - frame * 640 - reach)
    a, b = (play(model, x, [len(sound)], Controls()) for x in (sound, changed))
    assert_same(a[: frame + BLOCK], b[: frame + BLOCK])
    assert not torch.equal(a.expression, b.expression)


def test_frames_are_returned_as_soon_as_the_look_ahead_is_heard(model: MotionModel, sound: Tensor) -> None:
    block, state = model.step(sound[: round(LOOK_AHEAD_S * 16_000)], model.start(Controls(), 1))
    assert len(block) == state.frames_made == BLOCK


def mouth_columns() -> list[int]:
    return [column for axis in MOUTH_AXES for column in columns(axis)]


MOUTH_GAINS = torch.tensor([LIP_GAP_CM[axis] / len(columns(axis)) for axis in MOUTH_AXES for _ in columns(axis)])


def test_the_transformer_does_not_say_how_far_lips_open(model: MotionModel, sound: Tensor) -> None:
    """So lips can be measured on a talker whom the transformer has heard, when encoder and correction have not."""
    torch.manual_seed(1)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for weight in other.flow.out.parameters():
            weight.add_(torch.randn_like(weight) * 0.02)
    made = [play(m, sound, [5000], Controls()).expression[:, mouth_columns()] for m in (model, other)]
    assert float((made[0] - made[1]).abs().max()) > 0.01
    gaps = [mouth @ MOUTH_GAINS for mouth in made]
    assert torch.allclose(*gaps, atol=1e-4)
    assert float(gaps[0].std()) > 0.01


@pytest.mark.parametrize("opening_cm", [-0.12, 0.0, 0.5, 1.4])
def test_any_mouth_can_be_given_an_opening(opening_cm: float) -> None:
    generator = torch.Generator().manual_seed(4)
    for _ in range(20):
        mouth = torch.rand(len(MOUTH_AXES), generator=generator) * 0.3
        given = mouth_with_opening(mouth, opening_cm)
        assert float(given @ GAPS) == pytest.approx(opening_cm, abs=1e-4)
        assert 0 <= float(given.min()) <= float(given.max()) <= 1


def test_digital_silence_leaves_the_mouth_at_rest(model: MotionModel) -> None:
    block = play(model, torch.zeros(40_000), [1234], Controls())
    assert block.expression[:, mouth_columns()].abs().max() == 0


def test_the_mouth_is_closed_in_the_last_frame_even_when_speech_is_cut(model: MotionModel, sound: Tensor) -> None:
    block = play(model, sound[:9_600], [9_600], Controls())
    assert block.expression[:-1, mouth_columns()].abs().max() > 0.05
    assert block.expression[-1, mouth_columns()].abs().max() == 0


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 1.5])
def test_no_expression_strength_opens_a_closure(strength: float) -> None:
    generator = torch.Generator().manual_seed(3)
    for _ in range(50):
        mouth = torch.rand(len(MOUTH_AXES), generator=generator) * 0.6
        gap = float(speech_mouth(mouth, closed=1.0, gate=1.0, strength=strength) @ GAPS) + REST_GAP_CM
        assert -0.07 <= gap <= 0.03


def test_expression_strength_scales_the_opening() -> None:
    mouth = torch.zeros(len(MOUTH_AXES))
    mouth[0] = 0.2  # jawOpen
    opened = [float(speech_mouth(mouth, 0.0, 1.0, s)[0]) for s in (0.0, 0.5, 1.0, 1.5)]
    assert opened == pytest.approx([0.2 * s for s in (0.0, 0.5, 1.0, 1.5)])


def test_lips_do_not_pass_through_each_other(model: MotionModel) -> None:
    mouth = torch.zeros(len(MOUTH_AXES))
    mouth[MOUTH_AXES.index("mouthShrugLower")] = 0.8
    assert float(speech_mouth(mouth, 0.0, 1.0, 1.0) @ GAPS) + REST_GAP_CM >= -0.061


def test_motion_can_not_go_on_after_the_end(model: MotionModel) -> None:
    _, state = model.step(torch.zeros(640), model.start(Controls(), 1), final=True)
    with pytest.raises(GeneratorError, match="ended"):
        model.step(torch.zeros(640), state)


@pytest.mark.parametrize(
    "audio", [torch.zeros(2, 640), torch.zeros(640, dtype=torch.int16), torch.full((640,), float("nan"))]
)
def test_sound_of_a_wrong_kind_is_refused(model: MotionModel, audio: Tensor) -> None:
    with pytest.raises(GeneratorError, match="finite float32 vector"):
        model.step(audio, model.start(Controls(), 1))


def test_tensors_rebuild_their_network_from_the_configuration_alone(model: MotionModel, sound: Tensor) -> None:
    parts = {"encoder": model.encoder, "flow": model.flow, "lips": model.lips}
    tensors = {
        f"{part}.{name}": value.clone() for part, net in parts.items() for name, value in net.state_dict().items()
    }
    config = {"encoder": model.encoder.config.as_dict(), "flow": model.flow.config.as_dict()}
    rebuilt = MotionModel.from_tensors(tensors, config)
    assert_same(play(rebuilt, sound, [5000], Controls()), play(model, sound, [5000], Controls()))


def test_tensors_of_something_else_are_refused() -> None:
    with pytest.raises(GeneratorError, match="not a motion checkpoint"):
        MotionModel.from_tensors({"a": torch.zeros(3)}, {"encoder": {"width": 32}, "flow": {"audio": 53}})
    with pytest.raises(GeneratorError, match="not a motion checkpoint"):
        MotionModel.from_tensors({}, {})


def test_weights_stay_between_0_and_1_for_loud_noise_and_every_emotion(model: MotionModel, sound: Tensor) -> None:
    for emotion in ("happy", "afraid", "angry", "disgusted"):
        block = play(model, sound * 8, [len(sound)], Controls(emotion=emotion, expression_strength=1.5))
        assert 0 <= float(block.expression.min()) <= float(block.expression.max()) <= 1


def test_emotions_do_not_part_resting_lips(model: MotionModel) -> None:
    gains = torch.zeros(len(EXPRESSION_INDEX))
    for axis, gap in {**LIP_GAP_CM, "noseSneer": 0.62}.items():
        gains[list(columns(axis))] = gap / len(columns(axis))
    for emotion in ("happy", "sad", "angry", "surprised", "afraid", "disgusted"):
        block = play(model, torch.zeros(6400), [6400], Controls(emotion=emotion))
        assert float((block.expression @ gains).max()) <= 0.02, emotion


def test_emotion_grows_with_its_strength(model: MotionModel) -> None:
    def smile(strength: float) -> float:
        controls = Controls(emotion="happy", emotion_strength=strength)
        block = play(model, torch.zeros(6400), [6400], controls)
        return float(block.expression[:, EXPRESSION_INDEX["mouthSmile_L"]].mean())

    sizes = [smile(s) for s in (0.0, 0.25, 0.5, 1.0)]
    assert sizes == sorted(sizes)
    assert sizes[-1] > 0.3


def test_distance_scales_the_head(model: MotionModel) -> None:
    def scale(distance: float) -> float:
        block = play(model, torch.zeros(3200), [3200], Controls(distance=distance, head_motion=0))
        return float(block.pose[:, 5].mean())

    assert scale(1.0) == pytest.approx(1.0)
    assert scale(1.25) == pytest.approx(0.8)
    assert scale(0.8) == pytest.approx(1.25)


def test_head_motion_0_holds_the_head_while_eyes_live(model: MotionModel, sound: Tensor) -> None:
    block = play(model, sound.repeat(6), [9000], Controls(head_motion=0.0))
    assert torch.equal(block.pose, torch.tensor([0.0, 0, 0, 0, 0, 1]).repeat(len(block), 1))
    assert block.gaze.std(0).min() > 0.1
    assert block.expression[:, EXPRESSION_INDEX["eyeBlink_L"]].max() > 0.9


@pytest.mark.parametrize("emotion", ["sad", "angry", "surprised", "disgusted"])
def test_a_head_that_begins_to_move_does_not_jump_into_its_mood(model: MotionModel, emotion: str) -> None:
    moving = Curve(((1.0, 0.0), (3.0, 0.25)))
    block = play(model, torch.zeros(64_000), [64_000], Controls(emotion=emotion, head_motion=moving))
    pitch = block.pose[:, 1]
    assert torch.equal(pitch[:25], torch.zeros(25))
    assert pitch.diff().abs().max() < 0.3
    assert abs(float(pitch[-10:].mean())) > 0.5


def test_lips_that_never_open_leave_the_head_its_motion(model: MotionModel, sound: Tensor) -> None:
    """So that head motion can be measured on frames where nothing else moves."""
    speaking, resting = (play(model, sound, [9000], Controls(expression_strength=s)) for s in (1.0, 0.0))
    assert torch.equal(speaking.pose, resting.pose)
    gaps = torch.tensor([LIP_GAP_CM[axis] / len(columns(axis)) for axis in MOUTH_AXES for _ in columns(axis)])
    assert not torch.equal(speaking.expression, resting.expression)
    assert (resting.expression[:, mouth_columns()] @ gaps).max() < 0.01  # they press for p, b, m


def test_gaze_keeps_to_the_asked_direction_and_lids_follow(model: MotionModel) -> None:
    controls = Controls(gaze_yaw_deg=12, gaze_pitch_deg=10, head_motion=0, blink_rate_per_min=0)
    block = play(model, torch.zeros(16_000 * 20), [16_000], controls)
    assert block.gaze.mean(0).tolist() == pytest.approx([12, 10], abs=1.0)
    assert block.expression[:, EXPRESSION_INDEX["eyeLookOut_L"]].mean() > 0.2
    assert block.expression[:, EXPRESSION_INDEX["eyeLookIn_R"]].mean() > 0.2
    assert block.expression[:, EXPRESSION_INDEX["eyeLookDown_L"]].mean() > 0.3
    assert block.expression[:, EXPRESSION_INDEX["eyeLookIn_L"]].max() == 0


def test_state_does_not_grow_with_time(model: MotionModel) -> None:
    def numbers(state: SpeechMotionState) -> int:
        cache = state.cache
        hearing = state.hearing
        tensors = [state.remainder, *vars(hearing.features).values(), *hearing.encoder.history, hearing.encoder.hidden]
        tensors += [*cache.keys, *cache.values, *cache.biases, cache.last]
        assert state.lips.values is not None
        return sum(t.numel() for t in [*tensors, state.lips.values])

    generator = torch.Generator().manual_seed(0)
    state, sizes = model.start(Controls(), 1), []
    for _ in range(8):
        _, state = model.step(torch.randn(16_640, generator=generator) * 0.1, state)
        sizes.append(numbers(state))
        assert len(state.hearing.units) < len(state.hearing.levels) < DELAY_FRAMES + BLOCK
    assert len(set(sizes)) == 1
    assert replace(state, frames_made=0).units_heard == 8 * 26


def test_motion_follows_controls_over_time(model: MotionModel) -> None:
    controls = Controls(
        gaze_yaw_deg=Curve(((0.0, -20.0), (4.0, 20.0))),
        distance=Curve(((1.0, 1.0), (3.0, 1.25))),
        emotion=EmotionCurve(((1.0, "neutral", 1.0), (3.0, "happy", 1.0))),
        head_motion=0.0,
        blink_rate_per_min=0.0,
    )
    block = play(model, torch.zeros(64_000), [5000], controls)
    expected = torch.linspace(-20, 20 - 40 / 100, 100)
    assert float((block.gaze[:, 0] - expected).abs().max()) < 4
    assert block.pose[[0, 99], 5].tolist() == pytest.approx([1.0, 0.8])
    smile = block.expression[:, EXPRESSION_INDEX["mouthSmile_L"]]
    assert float(smile[20]) == 0
    assert float(smile[50]) == pytest.approx(float(smile[90]) / 2, rel=0.5)  # moods swell by a fifth at most
