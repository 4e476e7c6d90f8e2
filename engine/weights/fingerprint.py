"""The revision of a local folder of weights: a hash of its content.

Invariant: two folders have one fingerprint exactly if the files that decide the numbers are equal
byte for byte under equal names. Hashing is redone only when size, time or inode of a file changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from engine.errors import WeightsMissingError
from engine.weights.checksums import ChecksumStore

_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt")


class FingerprintCache:
    """Fingerprints of folders, remembered as long as no file of theirs changes."""

    def __init__(self, checksums: ChecksumStore) -> None:
        self._checksums = checksums

    def fingerprint(
        self,
        folder: Path,
        on_bytes: Callable[[int], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> str:
        """`sha256:` and 64 hexadecimal digits.

        Args:
            on_bytes: called with the number of bytes that are done since the last call.

        Raises:
            WeightsMissingError: if the folder or a file in it cannot be read.
            TransferCancelled: if `is_cancelled` says so before the end.
        """
        try:
            hashes = {
                path: self._checksums.sha256_of(path, on_bytes, is_cancelled)
                for path in _list_files(folder)
            }
        except OSError as error:
            raise WeightsMissingError(
                f"The folder {folder.name!r} cannot be read: {error.strerror}.",
                "Check that it exists and that this user may read it.",
            ) from error
        return _combine(folder, hashes)

    def find(self, folder: Path) -> str | None:
        """The fingerprint if that takes no reading, else None."""
        try:
            hashes = {path: self._checksums.find_sha256(path) for path in _list_files(folder)}
        except OSError:
            return None
        known = {path: sha256 for path, sha256 in hashes.items() if sha256 is not None}
        return _combine(folder, known) if known and len(known) == len(hashes) else None


def _list_files(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file() and path.suffix in _SUFFIXES and not path.name.startswith(".")
    )


def _combine(folder: Path, hashes: dict[Path, str]) -> str:
    digest = hashlib.sha256()
    for path, sha256 in hashes.items():
        digest.update(f"{path.relative_to(folder).as_posix()}\0{sha256}\n".encode())
    return f"sha256:{digest.hexdigest()}"
