"""DuckDB's exceptions, translated to the store's errors: the only place that reads their texts.

Invariant: what a person sees is one sentence of ours with a hint that works; DuckDB's own message
stays behind it as the cause.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import duckdb

from store.errors import StoreError, StoreLockedError, StoreUnusableError

_ELSEWHERE = "set FEATUREBOOK_STORE to another file"
_FULL = ("no space left", "file too large", "disk quota exceeded", "max_temp_directory_size")
_NO_PERMISSION = ("permission denied", "read-only file system", "operation not permitted")
_DAMAGED = (
    "not a valid duckdb database file",
    "could not read enough bytes",
    "corrupt",
    "checksum",
    "failed to deserialize",
    "failure while replaying wal",
    "wal file",
)
_HOLDER = re.compile(r"held in (?P<program>\S+) \(PID (?P<pid>\d+)\)")

INVALIDATING = (duckdb.FatalException, duckdb.InternalException)
"""After these DuckDB refuses everything until the instance is closed and opened again."""


def translate(error: duckdb.Error, path: Path) -> StoreError:
    """Says what went wrong with the store at path, and what helps.

    Args:
        error: as raised by DuckDB for a statement of ours, or while opening the file.
        path: of the store's file, for the message.
    """
    text = str(error).lower()
    if "could not set lock" in text:
        return StoreLockedError(str(path), _holder(str(error)))
    if any(sign in text for sign in _FULL):
        return disk_full(path)
    if any(sign in text for sign in _NO_PERMISSION):
        return not_writable(path)
    if isinstance(error, duckdb.OutOfMemoryException):
        return StoreUnusableError(
            str(path),
            "The store ran out of the memory that it may use.",
            "Ask for less at once, or try again when fewer others are asking.",
        )
    if isinstance(error, duckdb.SerializationException) or any(sign in text for sign in _DAMAGED):
        return StoreUnusableError(
            str(path),
            f"The file {path} is damaged, or is not a store.",
            f"Put a copy of it back, or move it and its .wal file away, or {_ELSEWHERE}.",
        )
    if "newer version of duckdb" in text or "version number" in text:
        return StoreUnusableError(
            str(path),
            f"The store {path} was written by another version of DuckDB than {duckdb.__version__}.",
            f"Install the version of duckdb that wrote it, or {_ELSEWHERE}.",
        )
    return StoreUnusableError(
        str(path),
        f"The store {path} could not be used ({type(error).__name__}).",
        f"Try again; if it stays so, restart the server, or {_ELSEWHERE}.",
    )


def disk_full(path: Path) -> StoreUnusableError:
    """The disk of the store's file is full; the write was rolled back."""
    return StoreUnusableError(
        str(path),
        f"The disk that holds {path} is full: nothing of this was stored.",
        f"Free some space there, or {_ELSEWHERE}; what is stored can still be read.",
    )


def not_writable(path: Path) -> StoreUnusableError:
    """The store's file or its folder may not be written."""
    return StoreUnusableError(
        str(path),
        f"The store {path} may not be written by this user.",
        f"Give write permission to the file and its folder, or {_ELSEWHERE}.",
    )


def _holder(message: str) -> str:
    """Names the process that holds the lock, as far as DuckDB's message does."""
    found = _HOLDER.search(message)
    if found is None:
        return ""
    return f"process {found['pid']} ({os.path.basename(found['program'])})"
