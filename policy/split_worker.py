"""A gate whose media work is done by confined processes (`vasari worker split`): `worker.json` of the state folder.

One process makes a job's clip, with the opened weights and the mark key. Another kind, a reader, decodes: the upload
before the decision, and the clip that came back. The gate's own process, which holds the keys that sign, the ledger
and the log, opens no picture, sound or video of others.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from policy.canonical import canonical_json, strict_json_object
from policy.claims import Strict, parse_claims
from policy.confined_process import Account
from policy.errors import StateError, TokenError
from policy.keys import read_secret, write_secret
from policy.process_messages import Ready
from policy.remote_performer import ENTRY, RemotePerformer
from policy.remote_reader import RemoteReader

WORKER_FILE = "worker.json"


class WorkerSettings(Strict):
    """`worker.json`: under which user, or (null) under the gate's own, with Landlock alone between them."""

    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_-]{0,31}$")] | None


@dataclass(frozen=True)
class SplitWorker:
    """The confined processes of one gate. `folder`: its state folder, which they don't reach."""

    account: Account | None
    folder: Path
    reader: RemoteReader
    entry: str = ENTRY

    @classmethod
    def of(cls, folder: Path, account: Account | None) -> SplitWorker:
        """Of a state folder's gate."""
        return cls(account, folder, RemoteReader(account, hidden=folder, work_folder=folder / "work"))

    def performer(self, weights: Path) -> RemotePerformer:
        """A worker process for one job, starting."""
        return RemotePerformer(
            weights,
            account=self.account,
            hidden=self.folder,
            work_folder=self.folder / "work",
            reader=self.reader,
            entry=self.entry,
        )


def read_worker_settings(folder: Path) -> SplitWorker | None:
    """How a state folder's gate has its media work done; None: in its own process. Raises StateError."""
    path = folder / WORKER_FILE
    if not path.exists():
        return None
    try:
        user = parse_claims(WorkerSettings, strict_json_object(read_secret(path))).user
    except (ValueError, TokenError) as error:
        raise StateError(f"{path}: not as `vasari worker split` writes it: {error}") from error
    return SplitWorker.of(folder, None if user is None else Account.named(user))


def split_worker(folder: Path, user: str | None) -> Ready:
    """Have media work done by confined processes from now on, once one was started; what it said of itself.

    Raises StateError and ProcessError, and then nothing is changed.
    """
    account = None if user is None else Account.named(user)
    if account is not None:
        account.require_code()
    ready = RemoteReader(account, hidden=folder, work_folder=folder / "work").try_out()
    settings = WorkerSettings(user=user)
    write_secret(folder / WORKER_FILE, canonical_json(settings.model_dump()), overwrite=True)
    return ready


def end_split(folder: Path) -> None:
    """Have media work done in the gate's own process again; raises StateError where it is."""
    try:
        (folder / WORKER_FILE).unlink()
    except FileNotFoundError:
        raise StateError(f"{folder}: its gate has no worker process") from None
