"""What all tokens are made of: strict immutable models, and the few types that their members have."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from policy.errors import TokenError

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Sha256Uri = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
Thumbprint = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{43}$")]
PSEUDONYM = r"^pw:[A-Za-z0-9_-]{43}$"
Pseudonym = Annotated[str, StringConstraints(pattern=PSEUDONYM)]
Identifier = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"^[!-~]+$")]
Seconds = Annotated[int, Field(ge=0, lt=1 << 40)]

Claims = TypeVar("Claims", bound=BaseModel)


class Strict(BaseModel):
    """Immutable; unknown members and values of a neighbouring type are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    @cached_property
    def as_json(self) -> str:
        """All members as JSON text, made once."""
        return self.model_dump_json()

    @cached_property
    def as_members(self) -> Mapping[str, Any]:
        """All members as JSON values, made once: not to be changed."""
        return self.model_dump(mode="json")

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy, which makes its own text and members."""
        copied = super().model_copy(update=update, deep=deep)
        for made in ("as_json", "as_members"):
            copied.__dict__.pop(made, None)
        return copied


class Confirmation(Strict):
    """RFC 7800 `cnf`: thumbprint of the only key that may use the token."""

    jkt: Thumbprint


class StatusListEntry(Strict):
    """Where the token's status is: entry `idx` of the list at `uri`."""

    idx: Annotated[int, Field(ge=0, lt=1 << 24)]
    uri: Identifier


class Status(Strict):
    """The `status` claim."""

    status_list: StatusListEntry


def new_identifier() -> str:
    """A `jti`: 128 random bits in hexadecimal, as people type it and base64url may begin with the dash of an option."""
    return secrets.token_hex(16)


def parse_pseudonym(text: str) -> str:
    """`text`, if it has the form of a pseudonym; raises TokenError."""
    if not re.fullmatch(PSEUDONYM, text, re.ASCII):
        raise TokenError("bad_claims", f"{text!r:.80} is no pseudonym; expected pw: and 43 characters")
    return text


def parse_claims(model: type[Claims], claims: Mapping[str, object]) -> Claims:
    """Claims as a typed model; raises TokenError `bad_claims` that names each wrong member."""
    try:
        return model.model_validate(claims)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(str(step) for step in fault['loc'])[:80]}: {fault['msg'][:80]}"
            for fault in error.errors(include_input=False, include_url=False)[:8]
        )
        raise TokenError("bad_claims", wrong) from None
