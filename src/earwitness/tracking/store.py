"""The MLflow store: which one is used, how it is opened, and how an SQLite store is made.

MLflow makes the tables of a store when it is first opened, in some seconds and many transactions. A kill meanwhile, or
a second process that opens the store, leaves one that never opens again. Here an SQLite store is made in another file
and renamed, and opened by one process at a time.
"""

from __future__ import annotations

import logging
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from earwitness.files import read_json, write_json
from earwitness.lock import hold

SQLITE = "sqlite:///"
FOLDER = "results"  # where the DAG keeps results, in its working directory
BOOKKEEPING = ("alembic_version", "workspaces")  # tables of MLflow that have rows before anything was stored


def store_uri(configured: str) -> str:
    """The tracking store: MLFLOW_TRACKING_URI if set, else the configured one."""
    return os.environ.get("MLFLOW_TRACKING_URI") or configured


def uri_below(results: Path, uri: str) -> str:
    """The store that a DAG with the results folder ``results`` means by ``uri``, from any working directory.

    A relative path in ``uri`` starts at the DAG's working directory, and one below its results at ``results``, wherever
    that folder was moved to.

    >>> uri_below(Path("/a/results"), "sqlite:///results/mlflow.db")
    'sqlite:////a/results/mlflow.db'
    >>> uri_below(Path("/a/results"), "sqlite:///runs/mlflow.db")
    'sqlite:////a/runs/mlflow.db'
    >>> uri_below(Path("/a/results"), "http://127.0.0.1:5000")
    'http://127.0.0.1:5000'
    """
    path = _file_of(uri)
    if path is None or path.is_absolute():
        return uri
    results = Path(os.path.abspath(results))  # noqa: PTH100 (a link's own parent is the working directory)
    located = results.joinpath(*path.parts[1:]) if path.parts[:1] == (FOLDER,) else results.parent / path
    _, mark, query = uri.partition("?")
    return f"{SQLITE}{located}{mark}{query}"


def without_password(uri: str) -> str:
    """The store's address, to be shown.

    >>> without_password("postgresql://me:secret@host:5432/runs")
    'postgresql://me:***@host:5432/runs'
    >>> without_password("http://127.0.0.1:5000")
    'http://127.0.0.1:5000'
    """
    return re.sub(r"(://[^:/@]*:).*@", r"\1***@", uri)


def prepare_store(uri: str, out: Path, attempt: int = 1) -> bool:
    """Make the store if needed, and see that it opens; record the outcome in ``out`` and return success."""
    record: dict[str, Any] = {"uri": uri, "ready": True, "attempt": attempt}
    try:
        with opened(uri, out) as client:
            client.search_experiments(max_results=1)
    except Exception as error:  # publishing tries again
        record |= {"ready": False, "reason": f"{type(error).__name__}: {error}"}
    write_json(out, record)
    return record["ready"]


def next_attempt(out: Path) -> int:
    """The number of the attempt to prepare the store that ``out`` should hold: a new one after a failure."""
    record = read_json(out) if out.is_file() else {}
    return record.get("attempt", 1) + (not record.get("ready", True))


@contextmanager
def opened(uri: str, beside: Path) -> Iterator[Any]:
    """An MlflowClient of the store, made if needed; other processes that open it wait.

    An SQLite store has its lock beside it; for any other store it is beside the file ``beside``, so that only processes
    that publish the same result wait for each other.
    """
    # Telemetry would connect to an external host.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A server that is down should cost seconds, not minutes as with MLflow's defaults.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
    from mlflow import MlflowClient

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    path = _file_of(uri)
    near = beside if path is None else path.resolve()
    with hold(near.with_name(f".{near.name}.lock")):
        if path is not None and _is_unmade(near):
            _make(near)
        yield MlflowClient(tracking_uri=uri)


def artifacts_of(uri: str) -> str | None:
    """The place of artifacts: beside the file of an SQLite store; None lets another store choose."""
    path = _file_of(uri)
    return None if path is None else (path.resolve().parent / "mlflow-artifacts").as_uri()


def _file_of(uri: str) -> Path | None:
    return Path(uri.removeprefix(SQLITE).partition("?")[0]) if uri.startswith(SQLITE) else None


def _is_unmade(path: Path) -> bool:
    """Whether a store's file is absent, or its making was interrupted: then it has no experiment, nor anything else.

    MLflow adds the experiment "Default" when all tables are made.
    """
    if not path.exists():
        return True
    with closing(sqlite3.connect(path, timeout=20)) as store:
        tables = [name for (name,) in store.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        used = (store.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for name in tables)
        return not any(row for name, row in zip(tables, used, strict=True) if name not in BOOKKEEPING)


def _make(path: Path) -> None:
    """Make an SQLite store in another file, and rename it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    made = path.with_name(f".{path.name}.new")
    journals = [Path(f"{made}-journal"), Path(f"{path}-journal")]  # a journal would be applied to the file of its name
    try:
        for left in (made, *journals):
            left.unlink(missing_ok=True)
        SqlAlchemyStore(f"{SQLITE}{made}", "./mlruns").engine.dispose()
        os.replace(made, path)
    finally:
        for left in (made, journals[0]):
            left.unlink(missing_ok=True)
