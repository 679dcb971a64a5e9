"""The site's own file, `site.json`: who runs the gate, where to appeal, and limits that only narrow.

Every limit is one rule (`policy/site_rules.py`) on top of all others: the decision is core AND site, so a site
can refuse more and never allow more. A member that is not known makes the whole file unreadable, and
without a readable file nothing is allowed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from policy import cedar_overlay
from policy.canonical import canonical_json, sha256_hex, strict_json_object
from policy.claims import Strict, parse_claims
from policy.consent_token import PURPOSES, Purpose
from policy.errors import StateError, TokenError
from policy.keys import read_secret
from policy.webauthn import RelyingParty

SITE_FILE, CEDAR_FILE = "site.json", "site.cedar"
MAX_SITE_BYTES = 64 * 1024
MAX_CEDAR = 32 * 1024

Line = Annotated[str, StringConstraints(max_length=200, pattern=r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]*$")]


class SiteLimits(Strict):
    """What this site refuses although the tokens allow it; None does not limit.

    `cooling_off_s`: seconds between the depicted person's signature and the first use.
    `recordings_listed`: only consents that list their recordings. `max_delegation_depth`: hops taken.
    """

    purposes: Annotated[list[Purpose], Field(min_length=1, max_length=len(PURPOSES))] | None = None
    max_seconds: Annotated[int, Field(ge=1)] | None = None
    max_uses: Annotated[int, Field(ge=1)] | None = None
    cooling_off_s: Annotated[int, Field(ge=0)] | None = None
    recordings_listed: bool = False
    max_delegation_depth: Annotated[int, Field(ge=0)] | None = None


class SitePolicy(Strict):
    """The whole file. `appeal` and `contact` are shown to whoever is refused or depicted.

    `cedar`: the site's Cedar policies (`policy/cedar_overlay.py`), kept beside this file as `site.cedar`.
    """

    schema_version: Literal[1] = 1
    controller: Line = ""
    contact: Line = ""
    appeal: Line = ""
    jurisdiction: Line = ""
    retention_days: Annotated[int, Field(ge=1, le=36_500)] = 3 * 365
    relying_party: RelyingParty = RelyingParty(id="localhost", origins=["http://localhost"])
    limits: SiteLimits = SiteLimits()
    cedar: Annotated[str, StringConstraints(max_length=MAX_CEDAR)] = ""

    @property
    def appeals_to(self) -> str:
        """Where someone who was refused can turn to, in words."""
        return (
            self.appeal
            or self.contact
            or f"the operator of this gate{f', {self.controller}' if self.controller else ''}"
        )

    def sha256(self) -> str:
        """Names this policy in logged decisions."""
        return sha256_hex(self.as_bytes())

    def as_bytes(self) -> bytes:
        """The file's content."""
        return canonical_json(self.model_dump(mode="json"))


def read_site_policy(path: Path) -> SitePolicy:
    """Read `site.json`, and `site.cedar` beside it if there is one.

    Raises StateError for a missing, damaged or unknown one, or policies that don't fit; KeyFileError when others can
    read.
    """
    if not path.exists():
        raise StateError(f"{path}: missing; without it nothing is allowed. Put it back, or run `vasari init` elsewhere")
    data = read_secret(path)
    try:
        if len(data) > MAX_SITE_BYTES:
            raise ValueError(f"{len(data)} bytes, at most {MAX_SITE_BYTES} are read")
        site = parse_claims(SitePolicy, strict_json_object(data))
        return _with_cedar(site, path.with_name(CEDAR_FILE))
    except TokenError as error:
        raise StateError(f"{path}: not as expected: {error.fact}") from error
    except ValueError as error:
        raise StateError(f"{path}: not one JSON object: {error}") from error


def _with_cedar(site: SitePolicy, path: Path) -> SitePolicy:
    if not path.exists() and not site.cedar:
        return site
    if path.exists() and site.cedar:
        raise ValueError(f"policies stand in the member cedar and in {path}; keep one of them")
    text = site.cedar or read_secret(path).decode()
    if len(text) > MAX_CEDAR:
        raise ValueError(f"{path}: {len(text)} characters, at most {MAX_CEDAR} are read")
    try:
        cedar_overlay.check_policies(text)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return site.model_copy(update={"cedar": text})
