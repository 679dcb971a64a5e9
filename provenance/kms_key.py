"""Keys behind a key service: a program or a Python function that signs, and the public key in a PEM file.

    exec:/usr/local/bin/sign-with-kms?public=gate.pub.pem&arg=alias/gate
    python:examplelab.kms:sign_gate?public=gate.pub.pem

The program gets its `arg`s, the message on its input, and answers with the signature on its output; its error output
stands in the error that is raised. The function gets the message and returns the signature.
"""

from __future__ import annotations

import importlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from provenance.errors import KeySourceError
from provenance.remote_key import PublicKey, SigningKey, remote_key

TIMEOUT_S = 15
MAX_SIGNATURE_BYTES = 256
SCHEMES = ("exec:", "python:")


def open_kms_key(uri: str, *, base: Path) -> SigningKey:
    """The key that a program or function signs with; relative paths start at `base`. Raises KeySourceError."""
    scheme, _, rest = uri.partition(":")
    place, _, query = rest.partition("?")
    options = parse_qs(query, keep_blank_values=True, strict_parsing=True) if query else {}
    if set(options) - {"public", "arg"} or len(options.get("public", ())) != 1 or not place:
        raise KeySourceError(
            f"{uri!r:.200}: expected {scheme}:PLACE?public=PUBLIC_KEY.pem, and arg=… any number of times"
        )
    public = read_public_key(base / options["public"][0])
    if scheme == "exec":
        program = [str(base / unquote(place)), *options.get("arg", ())]
        return remote_key(public, lambda message: _ask_program(program, message), where=uri)
    if options.get("arg"):
        raise KeySourceError(f"{uri!r:.200}: a function takes no arg")
    function = _function(place)
    return remote_key(public, lambda message: _ask_function(function, place, message), where=uri)


def read_public_key(path: Path) -> PublicKey:
    """An Ed25519 or P-256 public key in PEM; raises KeySourceError."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise KeySourceError(f"{path}: expected a public key in PEM: {error}") from error
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise KeySourceError(f"{path}: expected an Ed25519 or P-256 public key, got {type(key).__name__}")


def _ask_program(program: Sequence[str], message: bytes) -> bytes:
    try:
        done = subprocess.run(program, input=message, capture_output=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeySourceError(f"{program[0]}: {error}") from error
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())[-500:]
        raise KeySourceError(f"{program[0]}: ended with code {done.returncode}: {said}")
    return _signature(done.stdout, program[0])


def _ask_function(function: Any, place: str, message: bytes) -> bytes:
    try:
        answer = function(message)
    except Exception as error:
        raise KeySourceError(f"{place}: {type(error).__name__}: {error}") from error
    return _signature(answer, place)


def _signature(answer: object, place: str) -> bytes:
    if not isinstance(answer, bytes) or not 0 < len(answer) <= MAX_SIGNATURE_BYTES:
        raise KeySourceError(f"{place}: expected a signature of at most {MAX_SIGNATURE_BYTES} bytes")
    return answer


def _function(place: str) -> Any:
    module, _, name = place.partition(":")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise KeySourceError(f"python:{place}: can't be imported: {error}") from error
    if not callable(function):
        raise KeySourceError(f"python:{place}: is not a function")
    return function
