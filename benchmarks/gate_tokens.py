"""A million mutated tokens against the strict verifier and a second one; writes vectors that others can use.

    python -m benchmarks.gate_tokens --count 1000000
    python -m benchmarks.gate_tokens --vectors tests/policy/token_vectors.json

Mutations: single bits; cuts, joins and swapped parts; members of header and claims added, removed, doubled,
renamed or of another type; header tricks (`alg: none`, `crit`, `jwk`, `jku`, HMAC with the public key as
secret, other types, unknown `kid`); re-encodings of the same bytes; replays of another token's signature. No
mutant may be accepted, unless it is the token itself again. PyJWT, with strict settings and checks of its own
around it, must say the same of each.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.algorithms import OKPAlgorithm
from tqdm import tqdm

from benchmarks.results_page import write_results
from policy.canonical import b64url, canonical_json
from policy.errors import TokenError
from policy.keys import public_jwk, thumbprint
from policy.strict_jws import sign, verify

TYPE = "consent+jwt"
KEY = Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"vasari test vectors").digest())
KEYS: Mapping[str, Ed25519PublicKey] = {thumbprint(KEY): KEY.public_key()}
CLAIMS: dict[str, Any] = {
    "iss": "https://registry.example", "sub": "pw:" + "A" * 43, "aud": "https://gate.example",
    "iat": 1_790_000_000, "nbf": 1_790_000_000, "exp": 1_790_086_400, "jti": "one", "cnf": {"jkt": "B" * 43},
    "authorization_details": [{"type": "likeness_generation", "uses": 5, "video": {"max_seconds": 30}}],
}  # fmt: skip
VALUES: list[Any] = [None, 0, -1, 1.5, True, "", [], {}, "x" * 50, 1 << 70]
REGISTERED = ("iss", "aud", "jti", "iat", "nbf", "exp")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


@dataclass(frozen=True)
class Vector:
    """A token and whether a verifier should take it."""

    name: str
    token: str
    accept: bool


def good_token() -> str:
    """The token that everything is made of."""
    return sign(CLAIMS, typ=TYPE, key=KEY)


def signed_by_hand(header: bytes, claims: bytes, key: Ed25519PrivateKey = KEY) -> str:
    """Header and claims as given, however odd, with a signature that fits."""
    body = f"{b64url(header)}.{b64url(claims)}"
    return f"{body}.{b64url(key.sign(body.encode()))}"


def header_of(**changes: Any) -> dict[str, Any]:
    """The good header with members changed, or removed with `...`."""
    members = {"alg": "Ed25519", "typ": TYPE, "kid": thumbprint(KEY), **changes}
    return {name: value for name, value in members.items() if value is not ...}


def tricks() -> list[Vector]:
    """Every trick once; most are even signed with the right key."""
    claims, jwk, stranger = canonical_json(CLAIMS), public_jwk(KEY.public_key()), Ed25519PrivateKey.generate()
    right, exp = canonical_json(header_of()), b"1790086400"
    odd: Callable[[bytes], str] = lambda changed: signed_by_hand(right, changed)  # noqa: E731
    timed: Callable[[bytes], str] = lambda text: odd(claims.replace(exp, text))  # noqa: E731
    signed: Callable[[dict[str, Any]], str] = lambda header: signed_by_hand(canonical_json(header), claims)  # noqa: E731
    headers = {
        "alg none": header_of(alg="none"), "alg None": header_of(alg="None"), "alg EdDSA": header_of(alg="EdDSA"),
        "alg list": header_of(alg=["Ed25519"]), "no alg": header_of(alg=...), "alg HS256": header_of(alg="HS256"),
        "typ JWT": header_of(typ="JWT"), "typ upper": header_of(typ=TYPE.upper()), "no typ": header_of(typ=...),
        "typ with slash": header_of(typ=f"application/{TYPE}"), "typ of another kind": header_of(typ="grant+jwt"),
        "crit": header_of(crit=["exp"]), "crit b64": header_of(crit=["b64"], b64=False), "jwk": header_of(jwk=jwk),
        "jwk for kid": header_of(kid=..., jwk=jwk), "jku": header_of(jku="https://evil.example/keys"),
        "x5u": header_of(x5u="https://evil.example/c"), "x5c": header_of(x5c=["AA=="]), "zip": header_of(zip="DEF"),
        "unknown kid": header_of(kid="A" * 43), "kid path": header_of(kid="../../dev/null"),
        "no kid": header_of(kid=...),
        "kid list": header_of(kid=[thumbprint(KEY)]), "kid null": header_of(kid=None), "enc": header_of(enc="A256GCM"),
    }  # fmt: skip
    found = [Vector(name, signed(header), False) for name, header in headers.items()]
    good = good_token()
    head, body, signature = good.split(".")
    secret = KEY.public_key().public_bytes_raw()
    hmac_body = f"{b64url(canonical_json(header_of(alg='HS256')))}.{body}"
    forged = hmac.digest(secret, hmac_body.encode(), "sha256")
    found += [
        Vector("the token itself", good, True),
        Vector("HMAC with the public key", f"{hmac_body}.{b64url(forged)}", False),
        Vector("another signer", signed_by_hand(right, claims, stranger), False),
        Vector("empty signature", f"{head}.{body}.", False), Vector("no signature part", f"{head}.{body}", False),
        Vector("four parts", f"{good}.", False), Vector("five parts", f"{good}.{body}.{signature}", False),
        Vector("padding", f"{head}.{body}.{signature}==", False), Vector("space before", f" {good}", False),
        Vector("newline after", f"{good}\n", False), Vector("space inside", f"{head}. {body}.{signature}", False),
        Vector("standard alphabet", ".".join(p.replace("-", "+").replace("_", "/") for p in good.split(".")),
               not set("-_") & set(good)),
        Vector("doubled claim", odd(claims[:-1] + b',"exp":9999999999}'), False),
        Vector("doubled header member", signed_by_hand(right[:-1] + b',"alg":"Ed25519"}', claims), False),
        Vector("NaN", timed(b"NaN"), False),
        Vector("time as float", timed(b"1.8e9"), False),
        Vector("time as text", timed(b'"1790086400"'), False),
        Vector("time as truth", timed(b"true"), False),
        Vector("negative time", timed(b"-1"), False),
        Vector("huge time", timed(b"1" * 5000), False),
        Vector("claims are a list", odd(b"[]"), False),
        Vector("header is a list", signed_by_hand(b"[]", claims), False),
        Vector("deeply nested", odd(b'{"a":' * 900 + b"1" + b"}" * 900), False),
        Vector("too large", odd(claims[:-1] + b',"x":"' + b"x" * 9000 + b'"}'), False),
        Vector("not UTF-8", odd(b'{"iss":"\xff"}'), False),
        Vector("empty", "", False), Vector("dots", "..", False),
    ]  # fmt: skip
    found += [
        Vector(f"without {name}", odd(canonical_json({k: v for k, v in CLAIMS.items() if k != name})), False)
        for name in REGISTERED
    ]
    found += [
        Vector(f"{name} is {value!r:.9}", odd(canonical_json({**CLAIMS, name: value})), False)
        for name in REGISTERED
        for value in (None, [], 1.5)
    ]  # fmt: skip
    order = (1 << 252) + 27742317777372353535851937790883648493
    raw = base64.urlsafe_b64decode(signature + "==")
    high = raw[:32] + ((int.from_bytes(raw[32:], "little") + order) % (1 << 256)).to_bytes(32, "little")
    found.append(Vector("signature with a high S", f"{head}.{body}.{b64url(high)}", False))
    return found


def mutants(random_source: random.Random) -> Callable[[], str]:
    """An endless source of mutants of the good token."""
    good = good_token()
    others = [sign({**CLAIMS, "jti": f"other-{n}"}, typ=TYPE, key=KEY) for n in range(8)]
    pool = [vector.token for vector in tricks()]
    pick, number = random_source.choice, random_source.randrange

    def bit() -> str:
        raw = bytearray(good.encode())
        raw[number(len(raw))] ^= 1 << number(8)
        return raw.decode("latin-1")

    def decoded_bit() -> str:
        parts = good.split(".")
        at = number(3)
        raw = bytearray(base64.urlsafe_b64decode(parts[at] + "=="))
        raw[number(len(raw))] ^= 1 << number(8)
        parts[at] = b64url(bytes(raw))
        return ".".join(parts)

    def letters() -> str:
        text = list(good)
        for _ in range(number(1, 4)):
            text[number(len(text))] = pick(ALPHABET)
        return "".join(text)

    def spliced() -> str:
        one, two = good.split("."), pick(others).split(".")
        at = number(3)
        one[at] = two[at] if number(2) else one[number(3)]
        return ".".join(one)

    def moved() -> str:
        at, length = number(len(good)), number(1, 40)
        return pick(
            [good[:at] + good[at + length :], good[:at] + good[at : at + length] + good[at:], good[at:] + good[:at]]
        )

    def members() -> str:
        claims = json.loads(json.dumps(CLAIMS))
        name = pick(list(claims))
        claims[pick([name, name.upper(), f"{name} ", "admin"])] = pick(
            [None, 0, -1, 1.5, True, "", [], {}, "x" * 50, 1 << 70]
        )
        head, _, signature = good.split(".")
        return f"{head}.{b64url(canonical_json(claims))}.{signature}"

    def twisted_trick() -> str:
        text = pick(pool) or "."
        at = number(len(text))
        return text[:at] + pick(ALPHABET + ".=") + text[at + 1 :]

    sources = (bit, decoded_bit, letters, spliced, moved, members, twisted_trick)
    return lambda: pick(sources)()


def strict_accepts(token: str) -> bool:
    """The product's verifier; anything but TokenError is a crash and goes up."""
    try:
        verify(token, typ=TYPE, keys=KEYS)
    except TokenError:
        return False
    return True


def second_accepts(token: str) -> bool:
    """PyJWT with every check it has, and in code of its own the checks that it lacks."""
    if len(token) > 8192 or not FORM.fullmatch(token):
        return False
    try:
        header, claims = (_members(part) for part in token.split(".")[:2])
        if set(header) != {"alg", "typ", "kid"} or header["typ"] != TYPE or header["kid"] not in KEYS:
            return False
        SECOND.decode(token, KEY.public_key(), algorithms=["Ed25519"], options=OPTIONS)
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        return False
    times = [claims[name] for name in ("iat", "nbf", "exp")]
    texts = [claims[name] for name in ("iss", "aud", "jti")]
    return all(type(t) is int and 0 <= t < 1 << 40 for t in times) and all(type(t) is str for t in texts)


def _members(part: str) -> dict[str, Any]:
    raw = base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)
    if base64.b64encode(raw, altchars=b"-_").rstrip(b"=").decode() != part:
        raise ValueError("more than one way to write it")
    pairs: list[str] = []

    def hook(members: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in members]
        if len(set(names)) != len(names):
            pairs.extend(names)
        return dict(members)

    def refuse(text: str) -> None:
        raise ValueError(text)

    found = json.loads(raw.decode("utf-8"), object_pairs_hook=hook, parse_constant=refuse)
    if pairs or not isinstance(found, dict):
        raise ValueError("not one object with each member once")
    return found


def _second() -> jwt.PyJWT:
    verifier, signatures = jwt.PyJWT(), jwt.PyJWS()
    signatures.register_algorithm("Ed25519", OKPAlgorithm())
    verifier._jws = signatures
    return verifier


SECOND = _second()
FORM = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
OPTIONS: Any = {
    "require": ["exp", "iat", "nbf", "jti", "iss", "aud"],
    "verify_exp": False, "verify_nbf": False, "verify_aud": False, "verify_iat": False,
}  # fmt: skip


def attack(count: int, seed: int, *, second_every: int = 1) -> Counter[str]:
    """Try `count` mutants: how many were accepted, crashed, or were judged differently by the second verifier."""
    source, good = mutants(random.Random(seed)), good_token()
    same = {good}
    found: Counter[str] = Counter()
    for number in tqdm(range(count), desc="mutants", disable=None):
        token = source()
        try:
            taken = strict_accepts(token)
        except Exception:  # noqa: BLE001 - whatever it is, it is a finding
            found["crashed"] += 1
            continue
        if taken and token not in same and not _is_signed(token):
            found["accepted"] += 1
        if number % second_every == 0:
            found["seconded"] += 1
            if taken != second_accepts(token):
                found["disagreed"] += 1
    found["tried"] = count
    return found


def _is_signed(token: str) -> bool:
    """A whole token of the pool that the key did sign as it stands (a part spliced by the same part)."""
    return token in SIGNED


SIGNED = frozenset({good_token(), *(sign({**CLAIMS, "jti": f"other-{n}"}, typ=TYPE, key=KEY) for n in range(8))})


def write_vectors(path: Path) -> int:
    """Named vectors as JSON, with the public key they are checked with."""
    vectors = tricks()
    members = {
        "about": "JWS compact tokens of type consent+jwt, Ed25519 (RFC 9864); accept: what a strict verifier does.",
        "typ": TYPE,
        "key": public_jwk(KEY.public_key()),
        "vectors": [vars(vector) for vector in vectors],
    }
    path.write_text(json.dumps(members, indent=1) + "\n", encoding="utf-8")
    return len(vectors)


@click.command(help=__doc__)
@click.option("--count", type=click.IntRange(min=1), default=1_000_000, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--second-every", type=click.IntRange(min=1), default=1, show_default=True, help="Judge each n-th twice.")
@click.option("--vectors", type=click.Path(path_type=Path), help="Only write the vectors here.")
def main(count: int, seed: int, second_every: int, vectors: Path | None) -> None:
    if vectors is not None:
        click.echo(f"{write_vectors(vectors)} vectors in {vectors}")
        return
    began = time.monotonic()
    found = attack(count, seed, second_every=second_every)
    click.echo(f"{dict(found)} in {time.monotonic() - began:.0f} s, seed {seed}")
    command = f"python -m benchmarks.gate_tokens --count {count} --seed {seed}"
    rows = {
        "mutated_tokens_accepted": {"value": found["accepted"], "unit": "tokens", "n": count, "command": command},
        "mutated_tokens_crashes": {"value": found["crashed"], "unit": "tokens", "n": count, "command": command},
        "mutated_tokens_second_verifier_disagrees": {
            "value": found["disagreed"], "unit": "tokens", "n": found["seconded"], "command": command,
        },
    }  # fmt: skip
    write_results("gate", rows)


if __name__ == "__main__":
    main()
