"""The errors of the policy package: one root, a few children, each with the moment it is raised."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from policy.decision import Decision


class PolicyError(Exception):
    """Root of everything this package raises."""


class Refused(PolicyError):  # noqa: N818 - the word users read
    """The gate said no, or the consent was withdrawn while the job ran. `decision` lists every reason."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        super().__init__(decision.explain())


class TokenError(PolicyError):
    """A token could not be read or its signature is not good. `code` is stable, e.g. `bad_signature`."""

    def __init__(self, code: str, fact: str) -> None:
        self.code = code
        self.fact = fact
        super().__init__(f"{code}: {fact}")


class KeyFileError(PolicyError):
    """A key file is missing, of the wrong kind, or readable by other users."""


class SealError(PolicyError):
    """A sealed file was changed, cut short, or is not one; or the content key is not its own."""


class GrantError(PolicyError):
    """A grant is not valid, not the one the gate logged, expired, or already used. No key is released."""


class StateError(PolicyError):
    """The state folder is missing, incomplete, already there, or open to other users."""


class UnknownTokenError(PolicyError):
    """No consent or accreditation of this id was issued by this authority."""


class OutputError(PolicyError):
    """The clip cannot be put where it was asked for; found before anything is reserved."""


class ReleaseError(PolicyError):
    """The clip was made but cannot be released: a mark unreadable, a signature not verifying, a lost use."""


class ProcessError(ReleaseError):
    """A confined process did what it may not, failed, ended, or said nothing in time; nothing of it was used."""
