"""Checksums of files of weights, kept on disk, so that a folder of any size is read once, ever.

Invariant: what is noted here only saves time. A note that is broken, stale or cannot be written is
as good as none, and never an error. A note is replaced as a whole (a new file, then a rename), so
that threads and processes may share the folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from engine.errors import TransferCancelled
from engine.weights.parts import Check

_CHUNK_BYTES = 4 << 20
_NOTED_FROM_BYTES = 1 << 20
"""Smaller files are hashed anew by every process: that costs less than keeping a note of each."""


class Stamp(NamedTuple):
    """What tells whether a file is still the one that was read; links are followed."""

    size: int
    mtime_ns: int
    inode: int


def read_stamp(path: Path) -> Stamp:
    """The stamp of a file now.

    Raises:
        OSError: if it is not there.
    """
    stat = path.stat()
    return Stamp(stat.st_size, stat.st_mtime_ns, stat.st_ino)


def read_stamps(folder: Path, paths: Iterable[str]) -> dict[str, Stamp]:
    """The stamps of files, given relative to a folder; those that are not there are left out."""
    stamps = {}
    for path in paths:
        with contextlib.suppress(OSError):
            stamps[path] = read_stamp(folder / path)
    return stamps


def repository_key(repo_id: str, commit: str) -> str:
    """The key of a repository's snapshot; its paths are relative to the snapshot."""
    return f"{repo_id}@{commit}"


def folder_key(folder: Path) -> str:
    """The key of a local folder; its paths are relative to it."""
    return f"folder:{os.path.realpath(folder)}"


class ChecksumStore:
    """Notes in `folder`: the SHA-256 of files, what they should be, and whether they were checked.

    Made anew wherever it is needed: the notes are the folder's, and it is made with the first one.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._hashes: dict[str, tuple[Stamp, str]] = {}

    def sha256_of(
        self,
        path: Path,
        on_bytes: Callable[[int], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
        is_fresh: bool = False,
    ) -> str:
        """The SHA-256 of a file, 64 hexadecimal digits, read only if it changed since last time.

        Args:
            on_bytes: called with the number of bytes that are done since the last call.
            is_fresh: whether the file is read even so, as a disk may lose bytes and say nothing.

        Raises:
            OSError: if the file cannot be read.
            TransferCancelled: if `is_cancelled` says so before the end.
        """
        known = None if is_fresh else self.find_sha256(path)
        if known is not None:
            if on_bytes is not None:
                on_bytes(path.stat().st_size)
            return known
        stamp = read_stamp(path)
        digest = hashlib.sha256()
        with path.open("rb", buffering=0) as file:
            buffer = bytearray(min(_CHUNK_BYTES, max(stamp.size, 1)))
            view = memoryview(buffer)
            while n_bytes := file.readinto(buffer):
                digest.update(view[:n_bytes])
                if on_bytes is not None:
                    on_bytes(n_bytes)
                if is_cancelled is not None and is_cancelled():
                    raise TransferCancelled
        sha256 = digest.hexdigest()
        # a file that is written to while it is read has no checksum worth keeping
        if read_stamp(path) == stamp:
            self._note_hash(os.path.realpath(path), stamp, sha256)
        return sha256

    def find_sha256(self, path: Path) -> str | None:
        """The SHA-256 of a file if it is known already; the file is not read.

        Raises:
            OSError: if there is no such file.
        """
        stamp = read_stamp(path)
        name = os.path.realpath(path)
        with self._lock:
            noted = self._hashes.get(name)
        if noted is None and stamp.size >= _NOTED_FROM_BYTES:
            content = self._read("hashes", name)
            kept = _stamp(content.get("stamp"))
            sha256 = content.get("sha256")
            if kept is not None and isinstance(sha256, str):
                noted = (kept, sha256)
                with self._lock:
                    self._hashes[name] = noted
        return noted[1] if noted is not None and noted[0] == stamp else None

    def note_sha256(self, path: Path, sha256: str) -> None:
        """Notes the SHA-256 of a file that was computed elsewhere, such as while it arrived."""
        with contextlib.suppress(OSError):
            self._note_hash(os.path.realpath(path), read_stamp(path), sha256)

    def record(self, key: str, files: Mapping[str, tuple[int, str]]) -> None:
        """Notes what files of a snapshot or folder should be, beside what is noted already.

        Args:
            key: of `repository_key` or `folder_key`.
            files: size in bytes and SHA-256, by relative path.
        """
        with self._lock:
            kept = _sizes(self._read("records", key).get("files"))
            self._write("records", key, {"files": kept | dict(files)})

    def find_record(self, key: str) -> dict[str, tuple[int, str]] | None:
        """What was noted with `record`, or None."""
        return _sizes(self._read("records", key).get("files")) or None

    def mark_checked(self, key: str, is_sound: bool, stamps: Mapping[str, Stamp]) -> None:
        """Notes that files were compared with their checksums, beside what is noted already.

        Args:
            is_sound: whether all of them were as they should be.
            stamps: of each file by its relative path, taken before it was read.
        """
        with self._lock:
            files = self._checks(key)
            files |= {path: (stamp, is_sound) for path, stamp in stamps.items()}
            self._write("checks", key, {"files": files})

    def check_of(self, key: str, folder: Path, paths: Collection[str] | None = None) -> Check:
        """What the last comparison found, as far as the files are still the same.

        Args:
            folder: that `paths` are relative to: the snapshot, or the local folder.
            paths: files that are asked about; None is all that were ever compared.
        """
        files = self._checks(key)
        asked = files.keys() if paths is None else paths
        now = read_stamps(folder, asked)
        same = {path for path in asked if path in files and files[path][0] == now.get(path)}
        if any(not files[path][1] for path in same):
            return "damaged"
        return "verified" if asked and len(same) == len(asked) else "unverified"

    def _checks(self, key: str) -> dict[str, tuple[Stamp, bool]]:
        content = self._read("checks", key).get("files")
        if not isinstance(content, dict):
            return {}
        files = {}
        for path, entry in content.items():
            stamp = _stamp(entry[0]) if isinstance(entry, list) and len(entry) == 2 else None
            if stamp is not None and isinstance(entry[1], bool):
                files[str(path)] = (stamp, entry[1])
        return files

    def _note_hash(self, name: str, stamp: Stamp, sha256: str) -> None:
        with self._lock:
            self._hashes[name] = (stamp, sha256)
        if stamp.size >= _NOTED_FROM_BYTES:
            self._write("hashes", name, {"stamp": stamp, "sha256": sha256})

    def _path(self, kind: str, name: str) -> Path:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()
        return self._folder / kind / f"{digest[:40]}.json"

    def _read(self, kind: str, name: str) -> dict[str, object]:
        try:
            content = json.loads(self._path(kind, name).read_bytes())
        except (OSError, ValueError, RecursionError):
            return {}
        is_ours = isinstance(content, dict) and content.get("of") == _printable(name)
        return content if is_ours else {}

    def _write(self, kind: str, name: str, content: dict[str, object]) -> None:
        path = self._path(kind, name)
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            text = json.dumps({"of": _printable(name), **content})
            with tempfile.NamedTemporaryFile(
                "w", encoding="utf-8", dir=path.parent, prefix=".", suffix=".tmp", delete=False
            ) as file:
                temporary = Path(file.name)
                file.write(text)
            try:
                temporary.replace(path)
            except OSError:
                temporary.unlink(missing_ok=True)


def _printable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _stamp(content: object) -> Stamp | None:
    if not isinstance(content, list) or len(content) != 3:
        return None
    numbers = [number for number in content if type(number) is int]
    return Stamp(*numbers) if len(numbers) == 3 else None


def _sizes(content: object) -> dict[str, tuple[int, str]]:
    if not isinstance(content, dict):
        return {}
    return {
        str(path): (entry[0], entry[1])
        for path, entry in content.items()
        if isinstance(entry, list)
        and len(entry) == 2
        and type(entry[0]) is int
        and isinstance(entry[1], str)
    }
