"""`vasari consent enrol`, `propose`, `accept`, `delegate`: the depicted person's own device, and handing on."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from vasari.cli.consent import describe_consent, term_lines
from vasari.cli.consent_terms import consent_terms, term_options, thumbprint_of
from vasari.cli.purposes import purpose_option
from vasari.cli.session import FILE, TAKES_BASE64URL, CommandError, Session, styled, table, with_session
from vasari.cli.token_file import claims_of, read_token
from vasari.cli.whole_file import write_text

OUT = click.Path(path_type=Path, dir_okay=False)


@click.command(short_help="Enrol the depicted person's device.")
@click.option("--subject", help="The person's name; kept by the authority, private.")
@click.option("--pseudonym", help="At a gate split from its registry: as the registry printed it.")
@click.option("--subject-key", type=OUT, help="Their device file; made with mode 0600 when missing.")
@click.option("--credential", type=FILE, help="A passkey instead: JSON with credential_id and public_key (base64url).")
@with_session
def enrol(
    session: Session, subject: str | None, pseudonym: str | None, subject_key: Path | None, credential: Path | None
) -> None:
    """Enrol the device with which a person signs consents and sees their uses; logged.

    Check first who the person is. A passkey's JSON holds what the browser returned: `id`, and
    `response.getPublicKey()` in base64url.

    \b
    Example:
      vasari consent enrol --subject "Jane Doe" --subject-key jane.device
    """
    made = enrol_subject(
        session.state, subject=subject, pseudonym=pseudonym, subject_key=subject_key, credential=credential
    )
    rows = [(name.replace("_", " "), value) for name, value in made.items()]
    session.result(made, [styled("Device enrolled", bold=True), *table(rows)])


def enrol_subject(
    state: Path,
    *,
    subject: str | None,
    pseudonym: str | None = None,
    subject_key: Path | None,
    credential: Path | None = None,
) -> dict[str, Any]:
    """Enrol a device file or a passkey, by name or, at a gate alone, by pseudonym; what was enrolled."""
    from policy import Authority, SoftwareAuthenticator

    if (subject_key is None) == (credential is None):
        raise CommandError("give either --subject-key or --credential")
    if (subject is None) == (pseudonym is None):
        raise CommandError("give either --subject, or --pseudonym at a gate split from its registry")
    with Authority.open(state) as authority:
        if credential is not None:
            found = _read_credential(credential)
        else:
            assert subject_key is not None
            there = subject_key.exists()
            device = SoftwareAuthenticator.open(subject_key) if there else SoftwareAuthenticator.create(subject_key)
            found = device.credential
        if subject is not None:
            receipt, pseudonym = authority.enrol_subject(subject, found), authority.pseudonym_of(subject)
        else:
            assert pseudonym is not None
            receipt = authority.enrol_subject_at_gate(pseudonym, found)
    return {
        "credential": found.credential_id,
        "public_key": found.public_key,
        "pseudonym": pseudonym,
        "log_index": receipt.log_index,
        "device": str(subject_key or credential),
    }


@click.command(short_help="Lose a device: stop taking what it signed.", context_settings=TAKES_BASE64URL)
@click.argument("credential_id", required=False)
@click.option("--public-key", help="At a gate split from its registry, in place of the id: the device's public key.")
@with_session
def lost(session: Session, credential_id: str | None, public_key: str | None) -> None:
    """Stop taking a lost device. Consents that it signed are refused from now on; logged.

    \b
    Example:
      vasari consent lost Jq0…
    """
    from policy import Authority

    if (credential_id is None) == (public_key is None):
        raise CommandError("give either CREDENTIAL_ID, or --public-key at a gate split from its registry")
    with Authority.open(session.state) as authority:
        if credential_id is not None:
            receipt = authority.revoke_subject_key(credential_id)
        else:
            assert public_key is not None
            receipt = authority.revoke_subject_key_at_gate(public_key)
    lost_device = credential_id or public_key
    session.result({"credential": lost_device, "log_index": receipt.log_index}, [f"Revoked: {lost_device}"])


@click.command(short_help="Make the statement that a passkey signs.")
@term_options
@click.option("--credential-id", required=True, help="The enrolled passkey that shall sign.")
@click.option("--out", type=OUT, required=True, help="The statement: words to show, and WebAuthn options, as JSON.")
@with_session
def propose(session: Session, credential_id: str, out: Path, **terms: Any) -> None:
    """Make the statement that the depicted person is shown and signs within half an hour.

    Give `publicKey` to `navigator.credentials.get()` and show `notice`; hand the answer to `consent accept`.

    \b
    Example:
      vasari consent propose --credential-id Jq0… --subject "Jane Doe" --adult --portrait jane.png \\
        --grantee accreditation.jwt --purpose demonstration --out statement.json
    """
    from policy import Authority, Credential

    with Authority.open(session.state) as authority:
        enrolled = authority.registry.subjects.find(credential_id)
        if enrolled is None:
            raise CommandError(f"{credential_id}: no such device is enrolled; see `vasari consent enrol`")
        wanted = consent_terms(authority, **terms)
        proposal = authority.propose_consent(wanted, Credential(credential_id, enrolled.key))
    write_text(out, json.dumps(proposal.as_members(), indent=1) + "\n", mode=0o600)
    session.result({"consent": proposal.jti, "statement": str(out)}, [proposal.notice, f"Written: {out}"])


@click.command(short_help="Issue what a passkey signed.")
@click.option("--statement", type=FILE, required=True, help="What `consent propose` wrote.")
@click.option("--assertion", type=FILE, required=True, help="The device's answer, as JSON.")
@click.option("--out", type=OUT, required=True, help="The token file.")
@with_session
def accept(session: Session, statement: Path, assertion: Path, out: Path) -> None:
    """Issue a consent that the depicted person signed with their device.

    The answer's JSON has credential_id, authenticator_data, client_data and signature in base64url:
    the assertion's `id`, and `authenticatorData`, `clientDataJSON`, `signature` of its response.

    \b
    Example:
      vasari consent accept --statement statement.json --assertion answer.json --out consent.jwt
    """
    from policy import Assertion, Authority

    if out.exists():
        raise CommandError(f"{out}: exists already; tokens are never overwritten, choose another name")
    jti = str(_read_object(statement).get("consent", ""))
    try:
        answer = Assertion.model_validate(_read_object(assertion))
    except ValueError as error:
        raise CommandError(f"{assertion}: not a device's answer; see `vasari consent accept --help`") from error
    with Authority.open(session.state) as authority:
        token = authority.accept_consent(jti, answer)
        write_text(out, token + "\n", mode=0o600)
        issued = describe_consent(authority, authority.consent(jti)) | {"token": str(out)}
    session.result(issued, [styled(f"Consent issued: {out}", bold=True), *term_lines(issued)])


@click.command(short_help="Hand a consent on, narrowed.")
@click.argument("token", type=FILE)
@click.option("--key", type=FILE, required=True, help="Your key file: the one the token was given to.")
@click.option("--to", "to", type=FILE, required=True, help="Who gets it: their accreditation token, or key file.")
@click.option("--uses", type=click.IntRange(min=1), help="How many clips; all by default.")
@click.option("--total-seconds", type=click.IntRange(min=1), help="All clips together.")
@purpose_option(help_text="Only for this. Repeatable.")
@click.option("--days", type=click.IntRange(1, 90), help="How long; as long as the token by default.")
@click.option("--depth", type=click.IntRange(0, 3), default=0, show_default=True, help="Further hands allowed.")
@click.option("--out", type=OUT, required=True, help="The delegation's token file.")
@with_session
def delegate(session: Session, token: Path, key: Path, to: Path, days: int | None, out: Path, **less: Any) -> None:
    """Hand a consent, or a delegation of it, on to another researcher. It can only narrow.

    Whoever gets it passes both files: `vasari generate --consent consent.jwt --delegation hop.jwt`.

    \b
    Example:
      vasari consent delegate consent.jwt --key researcher.pem --to colleague.jwt --uses 1 --out hop.jwt
    """
    from policy import Authority, hand_on, read_private_key

    if out.exists():
        raise CommandError(f"{out}: exists already; tokens are never overwritten, choose another name")
    narrower = {"uses": less["uses"], "total_seconds": less["total_seconds"], "purposes": list(less["purpose"]) or None}
    with Authority.open(session.state) as authority:
        receiver = thumbprint_of(authority, to)
    made = hand_on(
        read_token(token),
        key=read_private_key(key),
        to_jkt=receiver,
        now=datetime.now(UTC),
        valid_for=None if days is None else timedelta(days=days),
        depth=less["depth"],
        narrower={name: value for name, value in narrower.items() if value is not None},
    )
    write_text(out, made + "\n", mode=0o600)
    claims = claims_of(made, out)
    detail = claims["authorization_details"][0]
    data = {"delegation": str(out), "to": receiver, "uses": detail["uses"], "total_seconds": detail["total_seconds"]}
    session.result(data, [styled(f"Handed on: {out}", bold=True), *table(data.items())])


def _read_object(path: Path) -> dict[str, Any]:
    try:
        members = json.loads(path.read_bytes())
    except ValueError as error:
        raise CommandError(f"{path}: expected JSON") from error
    if not isinstance(members, dict):
        raise CommandError(f"{path}: expected one JSON object")
    return members


def _read_credential(path: Path) -> Any:
    from policy import Credential

    members = _read_object(path)
    try:
        return Credential(str(members["credential_id"]), str(members["public_key"]))
    except KeyError as error:
        raise CommandError(f"{path}: lacks {error}") from error
