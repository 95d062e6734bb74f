"""Whether a local MLflow store can be written, found out without importing MLflow."""

import os
import re
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from clce_bench.errors import UserError

LOCAL = "sqlite:///"
"""How the address of a store begins that is a file on this machine."""
WAIT = 5.0
"""Seconds that another process may take to write."""


def check_store(uri: str) -> None:
    """Finds out what would keep ``track`` from writing a store. One that does not exist yet is no obstacle.

    Args:
        uri: ``tracking.uri``; whether a server or its database is there is left to ``track``.

    Raises:
        UserError: the file cannot be made, is no store, is locked, or was made by an older or newer MLflow.
    """
    if not uri.startswith(LOCAL):
        return
    path = Path(uri.removeprefix(LOCAL))
    try:
        if not path.exists():
            _check_place(path)
            return
    except OSError as error:  # Such as a name that is too long.
        raise UserError(f"tracking.uri: {path}: {error.strerror}.") from None
    if path.is_dir():
        raise UserError(f"tracking.uri: {path}: this is a folder. Allowed: a file, which is made if there is none.")
    anew = f"Move it away (mv {path} {path}.old); clce-bench track then writes the store anew from the results"
    try:
        with closing(sqlite3.connect(path, timeout=WAIT)) as store:
            store.execute("BEGIN IMMEDIATE")  # What a writer does; nothing follows it.
            store.rollback()
            tables = {name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            complete = {"alembic_version", "experiments", "runs"} <= tables
            found = store.execute("SELECT version_num FROM alembic_version").fetchone() if complete else None
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            who = "another process writes to it: wait until it has ended, or end what hangs"
            raise UserError(f"tracking.uri: {path}: {who}.") from None
        raise UserError(f"tracking.uri: {path}: it cannot be written ({error}).") from None
    except sqlite3.DatabaseError as error:
        raise UserError(f"tracking.uri: {path}: it is no MLflow store ({error}). {anew}.") from None
    if found is None:
        raise UserError(f"tracking.uri: {path}: it is no MLflow store, or a half-made one. {anew}.")
    revisions = _revisions()
    if revisions and found[0] not in revisions:
        raise UserError(f"tracking.uri: {path}: a newer MLflow made it. {anew}, or install that MLflow.")
    if revisions and found[0] in set(revisions.values()):
        raise UserError(
            f"tracking.uri: {path}: an older MLflow made it. mlflow db upgrade {LOCAL}{path} brings it up to date."
        )


def _check_place(path: Path) -> None:
    """Makes sure that a file can be made at a path, with the folders above it."""
    above = next(folder for folder in path.absolute().parents if folder.exists())
    if not above.is_dir():
        raise UserError(f"tracking.uri: {path}: {above} is no folder.")
    if not os.access(above, os.W_OK):
        raise UserError(f"tracking.uri: {path}: this user may not write to {above}.")


def _revisions() -> dict[str, str]:
    """Reads the versions of the schema that the installed MLflow knows: the one before, by version."""
    package = find_spec("mlflow")
    folders = list(package.submodule_search_locations or []) if package else []
    texts = [file.read_text() for folder in folders for file in Path(folder).glob("store/db_migrations/versions/*.py")]
    found: dict[str, str] = {}
    for text in texts:
        named = dict(re.findall(r"^(revision|down_revision)\s*=\s*[\"'](\w+)[\"']", text, flags=re.MULTILINE))
        if "revision" in named:
            found[named["revision"]] = named.get("down_revision", "")
    return found
