"""The revision of a local folder of weights: a hash of its content.

Invariant: two folders have one fingerprint exactly if the files that decide the numbers are equal
byte for byte under equal names. Hashing is redone only when size, time or inode of a file changed.
"""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from engine.errors import WeightsMissingError

_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt")
_Stamp = tuple[str, int, int, int]


class FingerprintCache:
    """Fingerprints of folders, remembered as long as no file of theirs changes."""

    def __init__(self) -> None:
        self._known: dict[tuple[_Stamp, ...], str] = {}
        self._lock = threading.Lock()

    def fingerprint(self, folder: Path) -> str:
        """`sha256:` and 64 hexadecimal digits.

        Raises:
            WeightsMissingError: if the folder or a file in it cannot be read.
        """
        try:
            files = sorted(
                path
                for path in folder.rglob("*")
                if path.is_file() and path.suffix in _SUFFIXES and not path.name.startswith(".")
            )
            stamps = tuple(_stamp(path) for path in files)
            with self._lock:
                if stamps in self._known:
                    return self._known[stamps]
                digest = hashlib.sha256()
                for path in files:
                    with path.open("rb") as file:
                        content = hashlib.file_digest(file, "sha256").hexdigest()
                    digest.update(f"{path.relative_to(folder).as_posix()}\0{content}\n".encode())
                return self._known.setdefault(stamps, f"sha256:{digest.hexdigest()}")
        except OSError as error:
            raise WeightsMissingError(
                f"The folder {folder.name!r} cannot be read: {error.strerror}.",
                "Check that it exists and that this user may read it.",
            ) from error


def _stamp(path: Path) -> _Stamp:
    stat = path.stat()
    return (str(path.absolute()), stat.st_size, stat.st_mtime_ns, stat.st_ino)
