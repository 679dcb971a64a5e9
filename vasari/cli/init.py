"""`vasari init`: make a local authority."""

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import click

from vasari.cli.public_folder import LOG_KEY, publish_certificates
from vasari.cli.session import FILE, CommandError, Session, table, with_session
from vasari.cli.whole_file import write_text
from vasari.plain_text import printable


@click.command(short_help="Make a local authority: keys, certificates, log.")
@click.option("--organisation", default="Local authority", show_default=True, help="Name on the signing certificate.")
@click.option("--weights", type=FILE, help="Sealed weights of `vasari seal`; the shipped ones by default.")
@click.option("--release-key", type=FILE, help="The content key that belongs to --weights.")
@click.option("--contact", default="", help="Where depicted people turn to; shown in records.")
@click.option("--appeal", default="", help="Where someone who was refused turns to; shown with each refusal.")
@click.option("--jurisdiction", default="", help="Whose law applies; noted in consent records.")
@with_session
def init(session: Session, organisation: str, weights: Path | None, release_key: Path | None, **site: str) -> None:
    """Make a local authority: keys, certificates, watermark key, transparency log.

    The state folder gets mode 0700 and is never overwritten. Its `public` folder holds what verifiers need (root
    certificates, revocation lists and the log's public key) and may be handed to anyone.

    \b
    Example:
      vasari init --organisation "Example Lab"
    """
    made = create_authority(session.state, organisation=organisation, weights=weights, release_key=release_key, **site)
    lines = [
        *table(made.items()),
        "",
        "Next: vasari accredit, vasari consent issue, vasari generate; see the example in each --help.",
    ]
    session.result(made, lines)


def create_authority(
    folder: Path, *, organisation: str, weights: Path | None = None, release_key: Path | None = None, **site: str
) -> dict[str, Any]:
    """Make the authority in `folder` and its public folder; what was made, for people and JSON."""
    from policy import Authority, SitePolicy
    from provenance import format_log_key, renew_revocation_lists

    if (weights is None) != (release_key is None):
        raise CommandError("--weights and --release-key belong together: give both or neither")
    if not organisation.strip() or printable(organisation) != organisation:
        raise CommandError(f"--organisation {printable(organisation, 80)!r}: expected a name on one line of plain text")
    for name, line in site.items():
        if printable(line) != line or len(line) > 200:
            raise CommandError(f"--{name} {printable(line, 80)!r}: expected one line of plain text")
    policy = SitePolicy(controller=organisation, **site)  # type: ignore[arg-type]
    create = partial(Authority.create, folder, organisation=organisation, site=policy, now=datetime.now(UTC))
    if weights is not None and release_key is not None:
        create = partial(create, weights=weights, release_key=release_key)

    with create() as authority:
        public = folder / "public"
        renew_revocation_lists(folder / "pki", now=datetime.now(UTC))
        publish_certificates(folder)
        write_text(public / LOG_KEY, format_log_key(authority.log.origin, authority.log_public_key) + "\n")
        return {
            "state": str(folder),
            "organisation": organisation,
            "gate": authority.identity.gate_id,
            "model": authority.identity.model_digest,
            "log": authority.log.origin,
            "public": str(public),
        }
