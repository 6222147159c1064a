"""The execution database's file: SQLite in WAL mode on a local disk, for several processes at once, with the
tables of this version.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from catalog.errors import Refused

MIGRATIONS = (
    """
    CREATE TABLE runs (
        run_id TEXT PRIMARY KEY,
        backend TEXT NOT NULL,
        directory TEXT NOT NULL,
        plan TEXT NOT NULL,
        created REAL NOT NULL,
        cancelled REAL
    ) STRICT;
    CREATE TABLE jobs (
        key TEXT PRIMARY KEY,
        run_id TEXT NOT NULL REFERENCES runs ON DELETE CASCADE,
        position INTEGER NOT NULL,
        task TEXT NOT NULL,
        model TEXT NOT NULL,
        state TEXT NOT NULL,
        reason TEXT,
        exit_code INTEGER,
        native TEXT,
        attempt INTEGER NOT NULL DEFAULT 1,
        native_id TEXT,
        folder TEXT,
        submitted REAL,
        stopping REAL,
        stop_reason TEXT,
        ended REAL,
        collected REAL,
        seen REAL,
        not_before REAL
    ) STRICT;
    CREATE INDEX jobs_of_run ON jobs (run_id, position);
    CREATE INDEX jobs_open ON jobs (state) WHERE ended IS NULL;
    CREATE INDEX runs_by_time ON runs (created);
    """,
    """
    ALTER TABLE jobs ADD COLUMN submitting REAL;
    """,
    """
    ALTER TABLE jobs ADD COLUMN running REAL;
    ALTER TABLE jobs ADD COLUMN unheard REAL;
    """,
    """
    ALTER TABLE runs ADD COLUMN resumed REAL;
    """,
)

MOUNTS = Path("/proc/self/mounts")
_NETWORK_NAMES = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs", "beegfs", "9p"}


def opened(path: Path) -> sqlite3.Connection:
    """Made where it isn't there. Raises Refused where the file lies on a network file system (SQLite's WAL
    needs memory that its readers share), and where a newer version made it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _refuse_network(path.parent)
    connection = sqlite3.connect(path, timeout=60, isolation_level=None)
    try:
        connection.row_factory = sqlite3.Row
        _use_wal(connection)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        _migrate(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Holds the write lock from its start, so that what was read in it still holds when it writes. One inside
    of another is a part of that."""
    if connection.in_transaction:
        yield connection
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield connection
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _use_wal(connection: sqlite3.Connection) -> None:
    """The change needs the file for itself for a moment, and SQLite doesn't wait for that."""
    deadline = time.monotonic() + 60
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
        else:
            return


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    if _version(connection) > len(MIGRATIONS):
        raise Refused(
            "made by a newer evaldock",
            place=str(path),
            hint="upgrade, or point EVALDOCK_STATE elsewhere",
        )
    if _version(connection) < len(MIGRATIONS):
        with transaction(connection):
            known = _version(connection)
            for number, statements in enumerate(MIGRATIONS[known:], known + 1):
                for statement in filter(str.strip, statements.split(";")):
                    connection.execute(statement)
                connection.execute(f"PRAGMA user_version = {number}")


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_network(folder: Path) -> None:
    name = _file_system(folder)
    if name in _NETWORK_NAMES or (name.startswith("fuse.") and name != "fuse.fuse-overlayfs"):
        raise Refused(
            f"the database can't lie on a network file system ({name})",
            place=str(folder),
            hint="point EVALDOCK_STATE at a folder on a local disk; run directories may stay where they are",
        )


def _file_system(folder: Path) -> str:
    """The type of the mount that holds `folder`; '' where nobody knows."""
    try:
        lines = MOUNTS.read_text().splitlines()
    except OSError:
        return ""
    where = str(folder.resolve())
    best, kind = "", ""
    for line in lines:
        _, mount, name, *_ = line.split(" ")
        mount = mount.replace("\\040", " ")
        inside = where == mount or where.startswith(mount.rstrip("/") + "/")
        if inside and len(mount) >= len(best):
            best, kind = mount, name
    return kind
