"""Identity kept: are frames of a portrait nearer to their own source than to other people's sources?

Verification: every output frame (posed, talking, other gaze) of a held-out portrait is compared with its own source
and with the sources of all other people by the cosine of their embeddings. `identity_auc` is the area under the ROC
curve of "same person"; the interval resamples people. An embedding is any function from a picture uint8 [3, H, W] to a
vector [d]; it must not have been trained on the held-out people.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import rankdata
from torch import Tensor
from torch.nn.functional import interpolate
from tqdm import tqdm

from benchmarks.face_read_out import Array, landmarks_of
from benchmarks.interval import bootstrap_interval
from benchmarks.renderer_controls import Draw, Portrait
from benchmarks.renderer_speed import lively_motion
from benchmarks.results_page import Rows
from generator.errors import GeneratorError
from generator.face_landmarks import FACE_OVAL
from generator.face_networks import CODE_PX, CROP, IdentityEncoder
from media import read_portrait

Embedding = Callable[[Tensor], Tensor]
FRAMES = 4
EVERY = 11  # frames of the lively motion, some 0.4 s apart


def measure_identity(
    embed: Embedding, draw_for: Callable[[Tensor], tuple[Tensor, Draw]], portraits: Sequence[Portrait]
) -> tuple[Array, NDArray[np.int64]]:
    """Similarity [N, P] of N frames to the sources of P people, and whose frame it is [N]."""
    sources, frames, owners = [], [], []
    moments = lively_motion(FRAMES * EVERY)
    for portrait in tqdm(portraits, desc="identity", disable=not sys.stderr.isatty()):
        try:
            source, draw = draw_for(read_portrait(portrait.path))
        except GeneratorError as refusal:
            print(f"left out a portrait: {refusal}", file=sys.stderr)
            continue
        for frame in draw(moments[slice(EVERY - 1, None, EVERY)]):
            frames.append(_unit(embed(frame)))
            owners.append(len(sources))
        sources.append(_unit(embed(source)))
    return np.stack(frames) @ np.stack(sources).T, np.array(owners)


def identity_rows(similarity: Array, owner: NDArray[np.int64], key: str = "identity_auc") -> Rows:
    people = similarity.shape[1]

    def auc_of(chosen: NDArray[np.int64]) -> float:
        rows = np.concatenate([np.flatnonzero(owner == person) for person in chosen])
        return roc_area(similarity[rows][:, chosen], owner[rows][:, None] == chosen)

    return {
        key: {
            "value": roc_area(similarity, owner[:, None] == np.arange(people)),
            "unit": f"AUC of frame to own source against {people - 1} others'",
            "n": len(owner),
            "ci95": bootstrap_interval(people, auc_of),
        }
    }


def roc_area(similarity: Array, genuine: NDArray[np.bool_]) -> float:
    """Probability that a genuine pair is more similar than an impostor pair (Mann and Whitney 1947); ties count half.

    Both [N, P]: frames against sources.
    """
    ranks = rankdata(similarity.ravel())[genuine.ravel()]
    n, m = int(genuine.sum()), int((~genuine).sum())
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))


def network_embedding(tensors: Mapping[str, Tensor]) -> Embedding | None:
    """The identity network among a renderer's tensors (names without `render.`); None where it has none.

    Looks at the working picture's crop around the face.
    """
    own = {name.removeprefix("identity."): t.float() for name, t in tensors.items() if name.startswith("identity.")}
    if not own:
        return None
    network = IdentityEncoder()
    network.load_state_dict(own)
    network.eval()
    left, top, right, bottom = CROP

    def embed(picture: Tensor) -> Tensor:
        crop = picture[None, :, top:bottom, left:right].float() / 255
        with torch.inference_mode():
            return network(interpolate(crop, size=(CODE_PX, CODE_PX), mode="area"))[0]

    return embed


def colour_and_shape(picture: Tensor) -> Tensor:
    """A stand-in where no identity network is given: mean colour of the face and its landmarks' layout. Weak, and
    called by its name wherever it is used."""
    marks = landmarks_of(picture)
    inner = np.setdiff1d(np.arange(468), FACE_OVAL)
    centred = marks[inner] - marks[inner].mean(0)
    layout = (centred / np.sqrt((centred**2).sum(1).mean())).ravel() / np.sqrt(len(inner))
    low, high = marks[:468].min(0).astype(int).clip(0), marks[:468].max(0).astype(int)
    colour = picture[:, low[1] : high[1], low[0] : high[0]].float().mean((1, 2)) / 255
    return torch.cat([torch.from_numpy(layout), colour.double()])


def _unit(vector: Tensor) -> Array:
    values = vector.detach().cpu().double().numpy().ravel()
    return np.asarray(values / max(float(np.linalg.norm(values)), 1e-12))
