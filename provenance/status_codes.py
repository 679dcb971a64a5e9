"""C2PA status codes (specification 2.x, section "Validation") and our own: in plain words, by topic, with their clause.

Section numbers are those of the C2PA Technical Specification 2.3.
"""

from typing import Literal

PLAIN_WORDS = {
    "assertion.accessDenied": "A part of the signed statement can't be opened.",
    "assertion.action.malformed": "The list of actions does not follow the rules.",
    "assertion.action.ingredientMismatch": "An action names a source that the manifest does not hold.",
    "assertion.bmffHash.malformed": "The signed hash of the clip is not well formed.",
    "assertion.bmffHash.match": "Picture and sound are exactly those that were signed.",
    "assertion.bmffHash.mismatch": "The clip was changed after it was signed.",
    "assertion.boxesHash.match": "The file's parts are exactly those that were signed.",
    "assertion.boxesHash.mismatch": "The file was changed after it was signed.",
    "assertion.cbor.invalid": "A part of the signed statement is not well formed.",
    "assertion.dataHash.match": "The file's content is exactly what was signed.",
    "assertion.dataHash.mismatch": "The file was changed after it was signed.",
    "assertion.hashedURI.match": "A part of the signed statement is unchanged.",
    "assertion.hashedURI.mismatch": "A part of the signed statement was changed after signing.",
    "assertion.inaccessible": "A part of the signed statement can't be reached.",
    "assertion.ingredient.malformed": "The record of a source file does not follow the rules.",
    "assertion.json.invalid": "A part of the signed statement is not well formed.",
    "assertion.missing": "A part that the signed statement lists is missing.",
    "assertion.multipleHardBindings": "The statement binds to the file in more than one way.",
    "assertion.notRedacted": "A part that is said to be removed is still there.",
    "assertion.outsideManifest": "The statement points outside itself.",
    "assertion.selfRedacted": "The statement removes a part of itself.",
    "assertion.undeclared": "The credentials hold a part that was never signed.",
    "claim.hardBindings.missing": "The statement is not bound to the file at all.",
    "claim.malformed": "The signed statement does not follow the rules.",
    "claim.missing": "The signed statement is missing.",
    "claim.multiple": "There is more than one signed statement where one belongs.",
    "claimSignature.insideValidity": "The signature was made while the signer's certificate was valid.",
    "claimSignature.mismatch": "The signature does not fit the statement: one of the two was changed.",
    "claimSignature.missing": "The statement is not signed.",
    "claimSignature.outsideValidity": "The signature was not made while the signer's certificate was valid.",
    "claimSignature.validated": "The signature fits the statement.",
    "general.error": "The credentials could not be checked.",
    "ingredient.claimSignature.validated": "The signature of a source's statement holds.",
    "ingredient.manifest.mismatch": "The credentials of a source were changed.",
    "ingredient.manifest.missing": "The credentials of a source are missing.",
    "ingredient.manifest.validated": "The credentials of a source are unchanged.",
    "ingredient.unknownProvenance": "A source has no credentials of its own.",
    "manifest.inaccessible": "The credentials are kept elsewhere and were not fetched.",
    "manifest.multipleParents": "The statement names more than one parent.",
    "signingCredential.expired": "The signer's certificate had expired.",
    "signingCredential.invalid": "The signer's certificate does not follow the rules.",
    "signingCredential.ocsp.notRevoked": "The signer's certificate was not revoked.",
    "signingCredential.ocsp.revoked": "The signer's certificate was revoked.",
    "signingCredential.ocsp.skipped": "Whether the signer was revoked was not checked (no network).",
    "signingCredential.ocsp.unknown": "Whether the signer's certificate was revoked is not known.",
    "signingCredential.trusted": "The signer is one of those you trust.",
    "signingCredential.untrusted": "The signer is not one of those you trust.",
    "timeOfSigning.insideValidity": "The time stamp lies within the certificate's validity.",
    "timeOfSigning.outsideValidity": "The time stamp lies outside the certificate's validity.",
    "timeStamp.malformed": "The time stamp is not well formed.",
    "timeStamp.mismatch": "The time stamp belongs to another signature.",
    "timeStamp.outsideValidity": "The time stamp was made outside its authority's validity.",
    "timeStamp.trusted": "The time of signing is vouched for by an authority you trust.",
    "timeStamp.untrusted": "The time of signing is vouched for by an authority you don't trust.",
    "timeStamp.validated": "The time stamp fits the signature.",
    "vasari.absent": "The file carries no credentials.",
    "vasari.containerDamaged": "The file's boxes don't fit together: it was cut or overwritten.",
    "vasari.enginesDisagree": "The two engines come to different verdicts; the stricter one counts.",
    "vasari.extraCredentialsBox": "There is a second box of credentials, in which anything can hide.",
    "vasari.formatNotSupported": "The file is none of MP4, MOV, M4A, WAV, MP3, FLAC, JPEG, PNG.",
    "vasari.hiddenBytes": "The file holds content that no signed hash covers.",
    "vasari.issuerRevoked": "The certificate authority that issued the signer's certificate was revoked.",
    "vasari.invalidWithoutReason": "The engine calls the file invalid and names no reason.",
    "vasari.manifestBoxMalformed": "The credentials are not laid out as the specification says.",
    "vasari.notTimeStamped": "No trusted time stamp: the credentials end with the signer's certificate.",
    "vasari.releaseContradictsSources": "The release record and the list of sources name different files.",
    "vasari.releaseMalformed": "The release record of this project is not well formed.",
    "vasari.revocationListMissing": "Whether the signer was revoked is not known: its issuer's list is not at hand.",
    "vasari.revocationListStale": "The revocation list is out of date: a later revocation would not be seen.",
    "vasari.secondEngineNotRun": "Only one engine checked this file.",
    "vasari.signerNotOnClaimList": "The signer is trusted for another purpose only, not for signing claims.",
    "vasari.signerNotRevoked": "The signer's certificate stands on no revocation list at hand.",
    "vasari.signerOnClaimList": "The signer is trusted for signing claims, not merely for another purpose.",
    "vasari.signerRevoked": "The signer's certificate was revoked.",
    "vasari.signerRevokedLater": "The signer's certificate was revoked, but only after this was signed.",
    "vasari.timeStampAuthorityRevoked": "The authority that vouches for the time of signing was revoked.",
    "vasari.timeStamped": "A time-stamping authority that you trust says when this was signed.",
    "vasari.tooManyBoxes": "The file is cut into more boxes than any engine is given to read.",
    "vasari.trustListExpired": "A root certificate on your trust list has expired: get a newer list.",
    "vasari.trustListFresh": "Every root certificate on your trust lists is valid.",
    "vasari.unhashedBytes": "Some bytes of the file are never covered by the signed hash.",
    "vasari.unhashedBytesChanged": "Bytes outside the signed hash (the file-type box) were changed.",
    "vasari.unreadable": "The file can't be read.",
}

# Failures of who signed and when; every other failure means that something was changed or is malformed.
TRUST_FAILURES = frozenset(
    {
        "claimSignature.outsideValidity",
        "signingCredential.expired",
        "signingCredential.ocsp.revoked",
        "signingCredential.ocsp.unknown",
        "signingCredential.revoked",
        "signingCredential.untrusted",
        "timeOfSigning.outsideValidity",
        "timeStamp.outsideValidity",
        "timeStamp.untrusted",
        "vasari.issuerRevoked",
        "vasari.notTimeStamped",
        "vasari.signerNotOnClaimList",
        "vasari.signerRevoked",
        "vasari.timeStampAuthorityRevoked",
    }
)

Topic = Literal[
    "integrity", "trust", "purpose", "time stamp", "revocation", "freshness", "sources", "coverage", "engines"
]
"""The questions that a finding can answer."""

SPECIFICATION = "C2PA 2.3"

# The longest prefix of a code decides.
_BY_PREFIX: dict[str, tuple[Topic, str]] = {
    "": ("integrity", f"{SPECIFICATION}, 15.1 Validation Process"),
    "algorithm.": ("integrity", f"{SPECIFICATION}, 13.1 Hashing"),
    "assertion.": ("integrity", f"{SPECIFICATION}, 15.10 Validate the Assertions"),
    "assertion.action": ("integrity", f"{SPECIFICATION}, 15.10 and 18.15 Actions"),
    "assertion.bmffHash": ("integrity", f"{SPECIFICATION}, 15.12 and 18.6 BMFF-Based Hash"),
    "assertion.boxesHash": ("integrity", f"{SPECIFICATION}, 15.12 and 18.7 General Box Hash"),
    "assertion.dataHash": ("integrity", f"{SPECIFICATION}, 15.12 and 18.5 Data Hash"),
    "assertion.ingredient": ("sources", f"{SPECIFICATION}, 15.11 and 18.16 Ingredient"),
    "assertion.notRedacted": ("integrity", f"{SPECIFICATION}, 6.8 Redaction of Assertions"),
    "assertion.selfRedacted": ("integrity", f"{SPECIFICATION}, 6.8 Redaction of Assertions"),
    "claim.": ("integrity", f"{SPECIFICATION}, 15.6 Locating and Validating the Claim"),
    "claim.hardBindings": ("integrity", f"{SPECIFICATION}, 9.2 Hard Bindings"),
    "claimSignature.": ("integrity", f"{SPECIFICATION}, 15.7 Validate the Signature"),
    "claimSignature.insideValidity": ("time stamp", f"{SPECIFICATION}, 15.7 Validate the Signature"),
    "claimSignature.outsideValidity": ("time stamp", f"{SPECIFICATION}, 15.7 Validate the Signature"),
    "ingredient.": ("sources", f"{SPECIFICATION}, 15.11 Validate the Ingredients"),
    "manifest.": ("integrity", f"{SPECIFICATION}, 15.5 Locating the Active Manifest"),
    "signingCredential.": ("trust", f"{SPECIFICATION}, 14.4 Trust Lists and 14.5 X.509 Certificates"),
    "signingCredential.expired": ("time stamp", f"{SPECIFICATION}, 14.5 X.509 Certificates and 15.8"),
    "signingCredential.ocsp.": ("revocation", f"{SPECIFICATION}, 15.9 Validate the Credential Revocation Information"),
    "signingCredential.revoked": (
        "revocation",
        f"{SPECIFICATION}, 15.9 Validate the Credential Revocation Information",
    ),
    "timeOfSigning.": ("time stamp", f"{SPECIFICATION}, 15.8 Validate the Time-Stamp"),
    "timeStamp.": ("time stamp", f"{SPECIFICATION}, 15.8 Validate the Time-Stamp"),
    "vasari.": ("integrity", f"{SPECIFICATION}, 15.1 Validation Process"),
    "vasari.containerDamaged": ("integrity", "ISO/IEC 14496-12, 4.2 Object Structure"),
    "vasari.tooManyBoxes": ("integrity", "ISO/IEC 14496-12, 4.2 Object Structure"),
    "vasari.enginesDisagree": ("engines", "Vasari: the stricter of two engines counts"),
    "vasari.extraCredentialsBox": ("coverage", f"{SPECIFICATION}, Appendix A: Embedding manifests"),
    "vasari.hiddenBytes": ("coverage", f"{SPECIFICATION}, 18.6 BMFF-Based Hash (exclusions)"),
    "vasari.issuerRevoked": ("revocation", "RFC 5280, 5 CRL Profile"),
    "vasari.manifestBoxMalformed": ("integrity", f"{SPECIFICATION}, 11.1 Use of JUMBF"),
    "vasari.notTimeStamped": ("time stamp", f"{SPECIFICATION}, 15.8 Validate the Time-Stamp"),
    "vasari.releaseContradictsSources": ("sources", "Vasari: org.vasari.release repeats the hashes of its sources"),
    "vasari.releaseMalformed": ("integrity", "Vasari: assertion org.vasari.release"),
    "vasari.revocationList": ("revocation", "RFC 5280, 5 CRL Profile"),
    "vasari.secondEngineNotRun": ("engines", "Vasari: the stricter of two engines counts"),
    "vasari.signerNotOnClaimList": ("purpose", f"{SPECIFICATION}, 14.4 Trust Lists"),
    "vasari.signerNotRevoked": ("revocation", "RFC 5280, 5 CRL Profile"),
    "vasari.signerOnClaimList": ("purpose", f"{SPECIFICATION}, 14.4 Trust Lists"),
    "vasari.signerRevoked": ("revocation", "RFC 5280, 5 CRL Profile"),
    "vasari.timeStampAuthorityRevoked": ("revocation", "RFC 5280, 5 CRL Profile"),
    "vasari.timeStamped": ("time stamp", f"{SPECIFICATION}, 15.8 Validate the Time-Stamp"),
    "vasari.trustList": ("freshness", f"{SPECIFICATION}, 14.4 Trust Lists"),
    "vasari.unhashedBytes": ("coverage", f"{SPECIFICATION}, 18.6 BMFF-Based Hash (exclusions)"),
}


def topic_of(code: str) -> Topic:
    """Which question a finding with this code answers."""
    return _rule(code)[0]


def clause_of(code: str) -> str:
    """The clause that a finding with this code comes from."""
    return _rule(code)[1]


def _rule(code: str) -> tuple[Topic, str]:
    return _BY_PREFIX[max((prefix for prefix in _BY_PREFIX if code.startswith(prefix)), key=len)]


def plain_words(code: str, detail: str = "") -> str:
    """The sentence for `code`, with the engine's own detail behind it."""
    sentence = PLAIN_WORDS.get(code, "A check of the credentials has this result.")
    return f"{sentence} ({detail})" if detail else sentence
