"""The third binding of a portrait: a salted commitment to the face that the person pointed at.

File hash and pixel hash bind the picture; this binds which face in it, whatever order a detector counts them in. The
embedding is no identity network's: it is 63 low-frequency cosine coefficients of the brightness of the face's crop
(32x32 pixels, mean and contrast taken out), a robust perceptual hash that knows this picture of a face, not the person.

The token holds neither the embedding nor anything that shows it. Each coefficient lies in a cell of width `STEP`; the
token says only how far from its cell's middle (`helper`, uniform whatever the face, as cells are narrower than faces
differ), and SHA-256 over the salt and the cells' numbers. So another machine's rounding opens it, another face does not
(shielding functions: Linnartz and Tuyls, AVBPA 2003). Who holds the portrait itself can test it, as with its file hash.
"""

from __future__ import annotations

import hashlib
import hmac
import math
import secrets
import struct
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from media import Face, crop_face
from policy.canonical import b64url, b64url_decode
from policy.consent_token import FACE_METHOD, FaceCommitment

LABEL = b"vasari face commitment v1\x00"
SALT_BYTES = 32
SIDE_PX = 32
FREQUENCIES = 8
COEFFICIENTS = FREQUENCIES**2 - 1
STEP = 0.02
"""Width of a cell; over portraits of different people each coefficient has a standard deviation of 0.03 and more."""
LARGEST = 100.0
OFFSETS = 256
"""Steps within a cell in which `helper` counts, one byte each."""
CROP_SCALE = 1.2
LUMA = (0.2126, 0.7152, 0.0722)  # BT.709

FaceEmbedding = tuple[float, ...]


def face_embedding(image: Tensor, face: Face) -> FaceEmbedding:
    """The coefficients of one face in a picture uint8 [3, H, W]; row by row, without the constant one."""
    crop = crop_face(image, face.box, scale=CROP_SCALE, side_px=SIDE_PX).double()
    luma = torch.einsum("c,chw->hw", torch.tensor(LUMA, dtype=torch.float64), crop)
    luma = (luma - luma.mean()) / luma.std(correction=0).clamp_min(1.0)
    index = torch.arange(SIDE_PX, dtype=torch.float64)
    cosines = torch.cos(math.pi / SIDE_PX * (index + 0.5) * index[:FREQUENCIES, None]) * math.sqrt(2 / SIDE_PX)
    cosines[0] /= math.sqrt(2)
    spectrum = cosines @ luma @ cosines.T / SIDE_PX
    return tuple(float(value) for value in spectrum.flatten()[1:])


def commit_face(embedding: FaceEmbedding, *, salt: bytes | None = None) -> FaceCommitment:
    """A commitment to `embedding` under a fresh salt."""
    salt = secrets.token_bytes(SALT_BYTES) if salt is None else salt
    cells = [math.floor(value / STEP) for value in embedding]
    offsets = bytes(
        min(OFFSETS - 1, int((value / STEP - cell) * OFFSETS)) for value, cell in zip(embedding, cells, strict=True)
    )
    return FaceCommitment(
        method=FACE_METHOD, salt=b64url(salt), helper=b64url(offsets), sha256=_digest(salt, offsets, cells)
    )


def opens(commitment: FaceCommitment, embedding: Sequence[float]) -> bool:
    """Whether this face is the one that was committed to: every coefficient within half a cell of it."""
    try:
        salt, offsets, middles = _decoded(commitment.salt, commitment.helper)
    except ValueError:
        return False
    if (
        len(embedding) != COEFFICIENTS
        or len(offsets) != COEFFICIENTS
        or not all(abs(value) < LARGEST for value in embedding)
    ):
        return False
    cells = [round(value / STEP - middle) for value, middle in zip(embedding, middles, strict=True)]
    return hmac.compare_digest(_digest(salt, offsets, cells), commitment.sha256)


@lru_cache(maxsize=256)
def _decoded(salt: str, helper: str) -> tuple[bytes, bytes, tuple[float, ...]]:
    """Salt, offsets, and how far each cell's middle lies from the coefficient, in cells; raises ValueError."""
    offsets = b64url_decode(helper)
    return b64url_decode(salt), offsets, tuple((offset + 0.5) / OFFSETS for offset in offsets)


def _digest(salt: bytes, offsets: bytes, cells: Sequence[int]) -> str:
    return hashlib.sha256(LABEL + salt + offsets + struct.pack(f">{len(cells)}i", *cells)).hexdigest()
