"""`vasari seal`: turn a packed checkpoint into sealed weights."""

import secrets
from pathlib import Path
from typing import Any

import click

from vasari.cli.session import CommandError, Session, table, with_session
from vasari.cli.whole_file import write_text


@click.command(short_help="Seal a packed checkpoint for a gate.")
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    required=True,
    help="One safetensors file with its configuration in the metadata.",
)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The sealed weights.")
@click.option(
    "--release-key-out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="A fresh content key is written here, mode 0600; it is never printed.",
)
@with_session
def seal(session: Session, checkpoint: Path, out: Path, release_key_out: Path) -> None:
    """Seal a checkpoint: only a gate that holds the content key can open it, and only for a granted job.

    \b
    Example:
      vasari seal --checkpoint generator.safetensors --out generator.sealed --release-key-out release.key
    """
    sealed = seal_checkpoint(checkpoint, out, release_key_out)
    session.result(sealed, table((name.replace("_", " "), value) for name, value in sealed.items()))


def seal_checkpoint(checkpoint: Path, out: Path, release_key_out: Path) -> dict[str, Any]:
    """Seal under a fresh key; neither file may exist yet."""
    from policy import seal_weights

    for path in (out, release_key_out):
        if path.exists():
            raise CommandError(f"{path}: exists already; sealed weights and keys are never overwritten")
    content_key = secrets.token_bytes(32)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_text(release_key_out, content_key.hex() + "\n", mode=0o600)
    try:
        digest = seal_weights(checkpoint, out, content_key=content_key)
    except BaseException:
        release_key_out.unlink(missing_ok=True)
        raise
    return {"sealed": str(out), "model": digest, "bytes": out.stat().st_size, "release_key": str(release_key_out)}
