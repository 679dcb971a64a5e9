#!/usr/bin/env python3
"""Check a Vasari transparency log without Vasari: one file, Python 3.9 or later, no other library, no network.

    python3 check_log.py proof --key log.vkey --proof 12.tlog-proof [--entry 12.entry] [--witness witness.vkey]
    python3 check_log.py export --key log.vkey log.jsonl [--since old.checkpoint]
    python3 check_log.py grown --key log.vkey --old old.checkpoint --request request.txt
    python3 check_log.py note --key auditor.vkey clip.note

`proof` shows that an entry is in the log; `export` that a whole exported log is what its checkpoint signs, and with
--since that it extends an older checkpoint; `grown` the same from a consistency proof alone (a witness's request).
`note` checks the signature of an audit report and prints what it signs. Exit code 0: everything holds; 1: something
does not, with the reason on stderr.

Formats: signed notes, checkpoints, tlog-proof and cosignatures of C2SP; Merkle trees of RFC 9162 section 2.1; Ed25519
of RFC 8032 section 5.1.7. Written to be read: nothing here is shared with the program whose log it checks.
"""

import argparse
import base64
import functools
import hashlib
import json
import re
import sys
from pathlib import Path

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
ROOT_OF_MINUS_ONE = pow(2, (P - 1) // 4, P)


def add(a, b):
    """Sum of two points in extended coordinates (X, Y, Z, T)."""
    m = (a[1] - a[0]) * (b[1] - b[0]) % P
    n = (a[1] + a[0]) * (b[1] + b[0]) % P
    o = 2 * a[3] * b[3] * D % P
    q = 2 * a[2] * b[2] % P
    e, f, g, h = n - m, q - o, q + o, n + m
    return e * f % P, g * h % P, f * g % P, e * h % P


def multiply(factor, point):
    """`factor` times `point`; nothing here is secret, so its time may tell the factor."""
    total = (0, 1, 1, 0)
    while factor:
        if factor & 1:
            total = add(total, point)
        point = add(point, point)
        factor >>= 1
    return total


def decode_point(raw):
    """A point from its 32 bytes; None when they are no point or not the one way to write it."""
    y = int.from_bytes(raw, "little")
    sign, y = y >> 255, y & (1 << 255) - 1
    square = (y * y - 1) * pow(D * y * y + 1, P - 2, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * ROOT_OF_MINUS_ONE % P
    if y >= P or (x * x - square) % P or (x == 0 and sign):
        return None
    x = P - x if x & 1 != sign else x
    return x, y, 1, x * y % P


BASE = decode_point(b"\x58" + b"\x66" * 31)


def verify_ed25519(key, message, signature):
    """Whether `signature` (64 bytes) over `message` was made with the private half of `key` (32 bytes)."""
    if len(key) != 32 or len(signature) != 64:
        return False
    a, r, s = decode_point(key), decode_point(signature[:32]), int.from_bytes(signature[32:], "little")
    if a is None or r is None or s >= L:
        return False
    k = int.from_bytes(hashlib.sha512(signature[:32] + key + message).digest(), "little") % L
    left, right = multiply(s, BASE), add(r, multiply(k, a))
    return (left[0] * right[2] - right[0] * left[2]) % P == 0 and (left[1] * right[2] - right[1] * left[2]) % P == 0


LOG_KEY, WITNESS_KEY = 1, 4


def unbase64(text, size=None):
    raw = base64.b64decode(text, validate=True)
    if base64.b64encode(raw).decode() != text or (size is not None and len(raw) != size):
        raise ValueError(f"not canonical base64 of the expected length: {text[:40]!r}")
    return raw


def number(text):
    if not re.fullmatch(r"0|[1-9][0-9]{0,18}", text) or int(text) >= 2**63:
        raise ValueError(f"not a number: {text[:40]!r}")
    return int(text)


def read_key(text, kind):
    """(name, key id, key) of a line `name+id+base64`."""
    name, _, rest = text.strip().partition("+")
    stated, _, encoded = rest.partition("+")
    tagged = unbase64(encoded)
    identity = hashlib.sha256(name.encode() + b"\n" + tagged).digest()[:4]
    if not name or len(tagged) != 33 or tagged[0] != kind or stated != identity.hex():
        raise ValueError("the key is malformed, or of another kind")
    return name, identity, tagged[1:]


def split_note(note):
    """Signed text, and [(name, key id, signature)]."""
    text, separator, lines = note.rpartition("\n\n")
    if not separator or not lines.endswith("\n") or re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", note):
        raise ValueError("not a signed note")
    signatures = []
    for line in lines[:-1].split("\n"):
        parts = line.split(" ")
        if len(parts) != 3 or parts[0] != "\u2014":
            raise ValueError(f"not a signature line: {line[:60]!r}")
        raw = unbase64(parts[2])
        signatures.append((parts[1], raw[:4], raw[4:]))
    return text + "\n", signatures


def open_note(note, key):
    """The text of a note, if the key signed it; every signature of this key must hold."""
    text, signatures = split_note(note)
    mine = [signature for name, identity, signature in signatures if (name, identity) == key[:2]]
    if not mine or not all(verify_ed25519(key[2], text.encode(), signature) for signature in mine):
        raise ValueError(f"not signed by {key[0]} under the given key")
    return text


def open_checkpoint(note, key):
    """(size, root) of a checkpoint that the log `key` signed."""
    lines = open_note(note, key).split("\n")
    if len(lines) != 4 or lines[3] or lines[0] != key[0]:
        raise ValueError("not a checkpoint of this log: expected its origin, a size and a root")
    return number(lines[1]), unbase64(lines[2], 32)


def cosigned_at(note, key):
    """POSIX time at which the witness `key` says it saw this checkpoint."""
    text, signatures = split_note(note)
    for name, identity, raw in signatures:
        if (name, identity) == key[:2] and len(raw) == 72:
            seconds = int.from_bytes(raw[:8], "big")
            if verify_ed25519(key[2], f"cosignature/v1\ntime {seconds}\n{text}".encode(), raw[8:]):
                return seconds
    raise ValueError(f"not cosigned by {key[0]}")


def leaf(entry):
    return hashlib.sha256(b"\0" + entry).digest()


def node(left, right):
    return hashlib.sha256(b"\1" + left + right).digest()


def last(path):
    if not path:
        raise ValueError("the proof is too short")
    return path.pop()


def split(size):
    """The largest power of two below `size`."""
    return 1 << (size - 1).bit_length() - 1


def root_over(hashed, index, size, path):
    """The root that an inclusion proof leads to; `path` is used up from its end."""
    if size == 1:
        return hashed
    half, sibling = split(size), last(path)
    if index < half:
        return node(root_over(hashed, index, half, path), sibling)
    return node(sibling, root_over(hashed, index - half, size - half, path))


def check_inclusion(hashed, index, size, path, root):
    path = list(path)
    if not 0 <= index < size or root_over(hashed, index, size, path) != root or path:
        raise ValueError("the inclusion proof leads to another root than the checkpoint's")


def roots_over(old_size, new_size, path, known):
    """Old and new root that a consistency proof leads to; `known` is the old root where the old tree is one subtree."""
    if old_size == new_size:
        hashed = last(path) if known is None else known
        return hashed, hashed
    half, sibling = split(new_size), last(path)
    if old_size <= half:
        old, new = roots_over(old_size, half, path, known)
        return old, node(new, sibling)
    old, new = roots_over(old_size - half, new_size - half, path, None)
    return node(sibling, old), node(sibling, new)


def check_consistency(old_size, new_size, old_root, new_root, path):
    path = list(path)
    if old_size == 0:
        holds = old_root == hashlib.sha256().digest()
    else:
        holds = old_size <= new_size and roots_over(old_size, new_size, path, old_root) == (old_root, new_root)
    if not holds or path:
        raise ValueError("the newer tree does not extend the older one")


def fold(stack):
    """The root from the hashes of complete subtrees [(height, hash)], largest first."""
    hashes = [hashed for _, hashed in reversed(stack)] or [hashlib.sha256().digest()]
    return functools.reduce(lambda right, left: node(left, right), hashes)


def text_of(path):
    return Path(path).read_bytes().decode("utf-8")


def proof_command(given):
    key = read_key(text_of(given.key), LOG_KEY)
    head, separator, note = text_of(given.proof).partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != "c2sp.org/tlog-proof@v1" or len(lines) > 65:
        raise ValueError("not a log proof")
    carried = unbase64(lines.pop(0)[6:]) if lines and lines[0].startswith("extra ") else None
    index, path = number(lines[0].removeprefix("index ") if lines else ""), [unbase64(line, 32) for line in lines[1:]]
    entry = Path(given.entry).read_bytes() if given.entry else carried
    if entry is None:
        raise ValueError("the proof does not carry its entry along; give --entry")
    size, root = open_checkpoint(note, key)
    check_inclusion(leaf(entry), index, size, path, root)
    print(f"entry {index} of {size} in {key[0]}, SHA-256 {hashlib.sha256(entry).hexdigest()}")
    for witness in given.witness:
        named = read_key(text_of(witness), WITNESS_KEY)
        print(f"cosigned by {named[0]} at POSIX time {cosigned_at(note, named)}")


def export_command(given):
    key = read_key(text_of(given.key), LOG_KEY)
    since = open_checkpoint(text_of(given.since), key) if given.since else None
    stack, count, records = [], 0, [json.loads(line) for line in text_of(given.log).splitlines()]
    seen = since is None or (since[0] == 0 and since[1] == hashlib.sha256().digest())
    if len(records) < 2 or records[0].get("origin") != key[0] or "checkpoint" not in records[-1]:
        raise ValueError("not an export of this log")
    for record in records[1:-1]:
        if record.get("index") != count or not isinstance(record.get("entry"), str):
            raise ValueError(f"expected entry {count}")
        stack.append((0, leaf(unbase64(record["entry"]))))
        while len(stack) > 1 and stack[-1][0] == stack[-2][0]:
            (height, left), (_, right) = stack[-2:]
            stack[-2:] = [(height + 1, node(left, right))]
        count += 1
        seen = seen or (since is not None and count == since[0] and fold(stack) == since[1])
    if open_checkpoint(records[-1]["checkpoint"], key) != (count, fold(stack)):
        raise ValueError("the entries are not those that the checkpoint signs")
    if not seen:
        raise ValueError("the log does not extend the older checkpoint")
    print(f"{count} entries of {key[0]}, all of them, in order" + (f"; extends {since[0]}" if since else ""))


def grown_command(given):
    key = read_key(text_of(given.key), LOG_KEY)
    old_size, old_root = open_checkpoint(text_of(given.old), key)
    head, _, note = text_of(given.request).partition("\n\n")
    lines = head.split("\n")
    if lines[0] != f"old {old_size}":
        raise ValueError(f"the request is not about a tree of {old_size}")
    size, root = open_checkpoint(note, key)
    check_consistency(old_size, size, old_root, root, [unbase64(line, 32) for line in lines[1:]])
    print(f"{key[0]} grew from {old_size} to {size} entries and changed none")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, run, options in (
        ("proof", proof_command, {"--proof": True, "--entry": False}),
        ("export", export_command, {"log": True, "--since": False}),
        ("grown", grown_command, {"--old": True, "--request": True}),
        ("note", lambda given: print(open_note(text_of(given.note), read_key(text_of(given.key), 1))), {"note": True}),
    ):
        command = commands.add_parser(name)
        command.set_defaults(run=run)
        command.add_argument("--key", required=True)
        for option, required in options.items():
            command.add_argument(option, **({"required": required} if option.startswith("--") else {}))
        if name == "proof":
            command.add_argument("--witness", action="append", default=[])
    given = parser.parse_args()
    try:
        given.run(given)
    except (OSError, ValueError, AttributeError, TypeError, KeyError, RecursionError) as fault:
        sys.exit(f"does not hold: {fault or type(fault).__name__}")


if __name__ == "__main__":
    main()
