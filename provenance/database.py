"""One interface to the databases that hold log, releases and stored manifests: a SQLite file, or PostgreSQL for more.

A place is a path, or `postgresql://[user@]host/database` (libpq's form; the password belongs into ~/.pgpass or a
service file, never into the address). Both engines take the same statements, with `?` where values go.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from provenance.errors import ProvenanceError
from provenance.sqlite_file import SqliteDatabase

POSTGRESQL_PREFIXES = ("postgresql://", "postgres://")
Place = Path | str
"""Where a store lies: a SQLite file, or the address of a PostgreSQL database."""

STORES_FILE = "stores.json"
STORES: Mapping[str, str] = MappingProxyType(
    {"log": "log.sqlite", "repository": "repository.sqlite", "archive": "service/archive.sqlite"}
)
"""The stores of a state folder, and the file that each lies in by default."""


class Rows(Protocol):
    """What a statement gave."""

    @property
    def rowcount(self) -> int:
        """How many rows were changed."""
        ...

    def fetchone(self) -> Any:
        """The next row as a tuple, or None."""
        ...

    def fetchall(self) -> list[Any]:
        """All rows."""
        ...


class Database(Protocol):
    """What a store needs. Every method raises the store's own error when the database fails."""

    @property
    def name(self) -> str:
        """The database as error messages name it; no secret."""
        ...

    def execute(self, statement: str, values: Sequence[object] = ()) -> Rows:
        """Run one statement; durable when it returns outside `write`."""
        ...

    def executemany(self, statement: str, rows: Iterable[Sequence[object]]) -> None:
        """Run one statement for every row."""
        ...

    def write(self, *, group: bool = False) -> AbstractContextManager[None]:
        """A transaction that excludes every other writer of this store from its first moment; all or nothing.

        `group`: it may write many megabytes.
        """
        ...

    def close(self) -> None:
        """Close the connection."""
        ...


@dataclass(frozen=True)
class Schema:
    """The tables of one kind of store, for both engines; `upgrades` lead from an older SQLite version to the next."""

    name: str
    version: int
    sqlite: str
    postgresql: str
    upgrades: tuple[tuple[int, str], ...] = ()


def open_store(place: Place, schema: Schema, *, error: type[ProvenanceError]) -> Database:
    """Open a store, making it when it is missing; raises `error` when it is damaged or of another version."""
    if isinstance(place, str) and place.startswith(POSTGRESQL_PREFIXES):
        from provenance.postgresql import PostgresqlDatabase  # an optional dependency

        return PostgresqlDatabase(place, schema.name, schema.postgresql, version=schema.version, error=error)
    return SqliteDatabase(
        Path(place), schema.sqlite, version=schema.version, upgrades=dict(schema.upgrades), error=error
    )


def read_places(folder: Path) -> dict[str, Place]:
    """Where each of `STORES` of the state folder lies: a file in it, or what its `stores.json` says.

    Raises ProvenanceError when that file can't be read or names anything but a PostgreSQL address.
    """
    path = folder / STORES_FILE
    places: dict[str, Place] = {name: folder / file for name, file in STORES.items()}
    if not path.exists():
        return places
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ProvenanceError(f"{path}: can't be read as JSON ({error})") from error
    known = isinstance(said, dict) and set(said) <= set(STORES)
    if not known or not all(isinstance(url, str) and url.startswith(POSTGRESQL_PREFIXES) for url in said.values()):
        raise ProvenanceError(f"{path}: expected an object of {', '.join(STORES)} with postgresql:// addresses")
    places.update(said)
    return places
