"""The one locked-down DuckDB instance of this process, and the cursors on it.

Invariant: one instance per process and file; every read runs in a read-only transaction of its own,
every write in one that is committed whole or rolled back, one write at a time. What DuckDB raises
leaves here as an error of the store. An instance that DuckDB has given up (a checkpoint that failed
on a full disk) is closed and opened again before its next use.
"""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path

import duckdb

from store.errors import StoreError, StoreLockedError, StoreUnusableError
from store.faults import INVALIDATING, disk_full, not_writable, translate
from store.migrations import REBUILT_FROM, migrate, stored_version
from store.rebuild import rebuild
from store.upkeep import Upkeep

_REVIVE_TIMEOUT_S = 10.0
_MEMORY_FRACTION = 4
_MEMORY_BOUNDS_MIB = (512, 768)
BLOCK_BYTES = 65_536
"""Of a new file. In blocks of DuckDB's own choice (four times that) the narrow columns of
activations waste a tenth of the space; in smaller ones, their descriptions take more."""
_SCHEMA = "base"
"""Where the tables are; a file of this name would be a catalog of the same name."""
_SPILL_LIMIT = "4GiB"
"""Most that sorting and joining may write beside the file, so that no query fills the disk."""

_open_stores: weakref.WeakValueDictionary[Path, Store] = weakref.WeakValueDictionary()
_open_lock = threading.Lock()


class Store:
    """One DuckDB file, opened once in a process, migrated and locked down.

    Make it with `Store.open`. All methods may be called from any thread.
    """

    def __init__(self, path: Path, connection: duckdb.DuckDBPyConnection) -> None:
        self.path = path
        self._connection: duckdb.DuckDBPyConnection | None = connection
        self._write_lock = threading.RLock()
        self._gate = threading.Condition()
        self._n_active = 0
        self._is_broken = False
        self._data_version = 0
        self.merge_lock = threading.Lock()
        """Held by who rearranges what is stored."""
        self.upkeep = Upkeep()

    @classmethod
    def open(cls, path: Path) -> Store:
        """Opens the file, or makes it with its folders, and brings its schema up to date.

        A process opens a file once and shares the Store between its threads.

        Raises:
            StoreLockedError: if another process, or this one, holds the file.
            StoreUnusableError: if it may not be written, is damaged, or is of a newer version.
        """
        path = _resolved(path)
        with _open_lock:
            if path in _open_stores:
                raise StoreLockedError(str(path), "this process already")
            if not path.exists():
                _create(path)
            if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK):
                raise not_writable(path)
            store = cls(path, connect_file(path))
            _open_stores[path] = store
            return store

    def close(self) -> None:
        """Stops the upkeep, checkpoints and closes. Idempotent."""
        self.upkeep.close()
        with _open_lock, self._write_lock, self._gate:
            connection, self._connection = self._connection, None
            if _open_stores.get(self.path) is self:
                del _open_stores[self.path]
            if connection is None:
                return
            # A checkpoint that fails (full disk) loses nothing: the write-ahead log is replayed.
            with contextlib.suppress(duckdb.Error):
                connection.execute("CHECKPOINT")
            connection.close()

    def checkpoint(self) -> None:
        """Moves what the write-ahead log holds into the file.

        Raises:
            StoreError: if that fails; nothing is lost then.
        """
        with self._write_lock, self._cursor() as cursor:
            cursor.execute("CHECKPOINT")

    @property
    def data_version(self) -> int:
        """Counts committed writes of this process; a key for caches of what was read."""
        return self._data_version

    @property
    def size_bytes(self) -> int:
        """Bytes of the file and its write-ahead log on disk."""
        files = (self.path, self.path.with_name(self.path.name + ".wal"))
        return sum(file.stat().st_size for file in files if file.exists())

    @contextlib.contextmanager
    def read(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor in a read-only transaction: all its statements see one state of the store.

        Raises:
            StoreError: for whatever DuckDB raises inside.
        """
        with self._cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            try:
                yield cursor
            finally:
                _rollback(cursor)

    @contextlib.contextmanager
    def write(self, is_counted: bool = True) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor in a transaction that is committed at the end, or rolled back on any exception.

        Args:
            is_counted: whether it is one of data_version: not where no cache holds what is written.

        Raises:
            StoreError: for whatever DuckDB raises inside; nothing was written then.
        """
        with self._write_lock, self._transaction() as cursor:
            yield cursor
            # Counted before: a commit may stand although the checkpoint after it fails.
            self._data_version += is_counted

    @contextlib.contextmanager
    def rewrite(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """Like `write`, for what is stored in another way but says the same: beside a write.

        Only its commit waits for a write to end: the checkpoint that follows gives back the space
        of what was deleted if no other transaction is open.

        Raises:
            StoreError: for whatever DuckDB raises inside; nothing was written then.
        """
        with contextlib.ExitStack() as until_committed, self._transaction() as cursor:
            yield cursor
            until_committed.enter_context(self._write_lock)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._cursor() as cursor:
            cursor.execute("BEGIN TRANSACTION")
            try:
                yield cursor
                cursor.execute("COMMIT")
            finally:
                _rollback(cursor)

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[duckdb.DuckDBPyConnection]:
        cursor = self._enter()
        try:
            yield cursor
        except BaseException as error:
            cause = error if isinstance(error, duckdb.Error) else error.__cause__
            if isinstance(cause, INVALIDATING) and not _is_alive(cursor):
                self._is_broken = True
            if isinstance(error, duckdb.Error):
                raise translate(error, self.path) from error
            raise
        finally:
            cursor.close()
            with self._gate:
                self._n_active -= 1
                self._gate.notify_all()

    def _enter(self) -> duckdb.DuckDBPyConnection:
        with self._gate:
            if self._is_broken:
                self._revive()
            if self._connection is None:
                raise StoreError("The store is closed.", "Open it again: restart the server.")
            cursor = self._connection.cursor()
            self._n_active += 1
            return cursor

    def _revive(self) -> None:
        """Closes and opens the instance; DuckDB shares it until the last cursor on it is closed."""
        if not self._gate.wait_for(lambda: self._n_active == 0, _REVIVE_TIMEOUT_S):
            raise StoreUnusableError(
                str(self.path),
                "The store is being opened again after a failure of its disk.",
                "Try again in a few seconds.",
            )
        if self._is_broken and self._connection is not None:
            self._connection.close()
            self._connection = connect_file(self.path)
            self._is_broken = False


def _resolved(path: Path) -> Path:
    """The file's one true path, its folder made."""
    try:
        path = path.expanduser().resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        raise not_writable(path) from error
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreUnusableError(
            str(path),
            f"The folder of the store {path} cannot be made.",
            "Set FEATUREBOOK_STORE to a file in a folder that can be written.",
        ) from error
    if path.name.partition(".")[0].lower() == _SCHEMA:
        raise StoreUnusableError(
            str(path),
            f"A store cannot be named {path.name}: DuckDB would take it for its own schema.",
            "Set FEATUREBOOK_STORE to a file of another name.",
        )
    if path.is_dir():
        raise StoreUnusableError(
            str(path),
            f"{path} is a folder, not a file.",
            "Set FEATUREBOOK_STORE to a file, such as data/featurebook.duckdb.",
        )
    return path


def _create(path: Path) -> None:
    """Makes an empty store beside its place and links it there: it appears whole, or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        draft.unlink(missing_ok=True)
        connect_file(draft).close()
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first: its store is the one to open
        except OSError:
            draft.rename(path)  # a file system without hard links
    except PermissionError as error:
        raise not_writable(path) from error
    except OSError as error:
        raise disk_full(path) from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


def connect_file(path: Path) -> duckdb.DuckDBPyConnection:
    """Opens the file, shuts off all that SQL could reach outside of it, and migrates it.

    For `Store`, and for a snapshot, which is written whole before anybody opens it.

    Raises:
        StoreError: if the file cannot be opened, or is no store.
    """
    try:
        connection = _open_locked_down(path)
        if 0 < stored_version(connection, path) < REBUILT_FROM:
            connection.execute("CHECKPOINT")
            connection.close()
            rebuild(path, BLOCK_BYTES)
            connection = _open_locked_down(path)
    except duckdb.Error as error:
        raise translate(error, path) from error
    except OSError as error:
        raise disk_full(path) from error
    try:
        migrate(connection, path)
    except duckdb.Error as error:
        connection.close()
        raise translate(error, path) from error
    except BaseException:
        connection.close()
        raise
    return connection


def _open_locked_down(path: Path) -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(
        str(path),
        config={
            "enable_external_access": False,
            "python_enable_replacements": False,
            "autoload_known_extensions": False,
            "autoinstall_known_extensions": False,
            "allow_community_extensions": False,
            "memory_limit": f"{_memory_limit_mib()}MiB",
            "max_temp_directory_size": _SPILL_LIMIT,
            "default_block_size": BLOCK_BYTES,
            "threads": max(1, min(os.cpu_count() or 1, 8)),
        },
    )
    connection.execute("SET GLOBAL TimeZone = 'UTC'")
    connection.execute("SET GLOBAL lock_configuration = true")
    return connection


def _memory_limit_mib() -> int:
    """A quarter of the machine's memory, within bounds: the model wants the rest."""
    low, high = _MEMORY_BOUNDS_MIB
    try:
        total_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    except (ValueError, OSError, AttributeError):
        return low
    return min(max(total_mib // _MEMORY_FRACTION, low), high)


def _rollback(cursor: duckdb.DuckDBPyConnection) -> None:
    """Ends the transaction; after a commit, or one that DuckDB ended itself, there is none left."""
    with contextlib.suppress(duckdb.Error):
        cursor.execute("ROLLBACK")


def _is_alive(cursor: duckdb.DuckDBPyConnection) -> bool:
    try:
        cursor.execute("SELECT 1")
    except duckdb.Error:
        return False
    return True
