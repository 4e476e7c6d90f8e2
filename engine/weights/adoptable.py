"""What a folder that was downloaded by hand holds: its files, and how a cache names their content.

Invariant: reads only. Files that can run code, files that are never used, and what belongs to git
or the hub client are left out; a file whose content is not there is an error, not a gap.

Source: huggingface_hub/_local_folder.py (notes of `hf download --local-dir`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.errors import TransferCancelled, WeightsMissingError
from engine.weights.checksums import ChecksumStore
from engine.weights.git_objects import git_blob_sha1
from engine.weights.layout import is_pickle, is_unused

_NOTES = Path(".cache", "huggingface", "download")
_POINTER = b"version https://git-lfs.github.com/spec/v1"
_SKIPPED_FOLDERS = (".git", ".cache")
_SKIPPED_SUFFIXES = (".incomplete", ".lock", ".aria2", ".part", ".crdownload", ".tmp")
_SKIPPED_NAMES = (".DS_Store", "Thumbs.db", "desktop.ini", ".gitignore")
_LARGE_BYTES = 10 << 20
"""From this size on the hub keeps files by SHA-256; below it, by git's SHA-1, save for weights."""
_LARGE_SUFFIXES = (".safetensors", ".model", ".gguf", ".h5", ".msgpack", ".onnx")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class AdoptableFile:
    """A file that becomes part of a cache entry.

    Attributes:
        path: relative to the folder, with `/`. source: the file itself, links resolved.
        blob: name of its content in a cache: SHA-256 or git's SHA-1.
        commit: that the hub client noted for it, if the file was not changed since; else None.
    """

    path: str
    source: Path
    size_bytes: int
    blob: str
    commit: str | None


def list_files(
    folder: Path,
    checksums: ChecksumStore,
    on_progress: Callable[[str, int, int], None],
    is_cancelled: Callable[[], bool] | None = None,
) -> list[AdoptableFile]:
    """The files of a folder, sorted by path; those without a valid note are hashed.

    Args:
        on_progress: called with the current path, the bytes done, and the bytes in all.

    Raises:
        WeightsMissingError: if a file is a pointer of git-lfs or a broken link, a download of the
            folder was not finished, or there is no safetensors file.
        OSError: if a file cannot be read.
        TransferCancelled: if `is_cancelled` says so.
    """
    sources = _walk(folder)
    total = sum(source.stat().st_size for source in sources.values())
    done = 0
    found = []
    for path, source in sorted(sources.items()):
        size = source.stat().st_size
        if is_cancelled is not None and is_cancelled():
            raise TransferCancelled
        on_progress(path, done, total)
        _check_content(path, source, size)
        commit, etag = _read_note(folder, path, source)
        before = done

        def count(n_bytes: int, path: str = path) -> None:
            nonlocal done
            done += n_bytes
            on_progress(path, done, total)

        blob = etag or _hash(source, size, checksums, count, is_cancelled)
        done = before + size
        found.append(AdoptableFile(path, source, size, blob, commit))
    on_progress("", total, total)
    return found


def derive_commit(files: list[AdoptableFile]) -> str:
    """40 hexadecimal digits that stand for these files' names and content."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(f"{file.path}\0{file.blob}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()[:40]


def find_commit_of_clone(folder: Path, files: list[AdoptableFile]) -> str | None:
    """The commit that a git clone has checked out; None if it is none, or was changed since."""
    git = folder / ".git"
    try:
        # git writes its index after the files; what is newer was written by someone else
        checked_out_at = (git / "index").stat().st_mtime + 1
        if any(file.source.stat().st_mtime > checked_out_at for file in files):
            return None
        head = (git / "HEAD").read_text(encoding="ascii").strip()
        if head.startswith("ref: "):
            name = head.removeprefix("ref: ")
            try:
                head = (git / name).read_text(encoding="ascii").strip()
            except FileNotFoundError:
                lines = (git / "packed-refs").read_text(encoding="ascii").splitlines()
                packed = dict(line.split(" ", 1)[::-1] for line in lines if " " in line)
                head = packed.get(name, "")
    except (OSError, ValueError):
        return None
    return head if _COMMIT.fullmatch(head) else None


def _walk(folder: Path) -> dict[str, Path]:
    """The files to take, by relative path; links to files are followed, to folders not."""
    sources = {}
    pickles = []

    def refuse(error: OSError) -> None:
        raise error

    for root, subfolders, names in os.walk(folder, onerror=refuse):
        subfolders[:] = [name for name in subfolders if name not in _SKIPPED_FOLDERS]
        for name in names:
            source = Path(root, name)
            path = source.relative_to(folder).as_posix()
            if is_pickle(path):
                pickles.append(path)
            elif not is_unused(path) and not _is_skipped(name):
                sources[path] = Path(os.path.realpath(source))
                if not sources[path].is_file():
                    raise WeightsMissingError(
                        f"The link {path!r} leads nowhere.", "Download the folder again."
                    )
    unfinished = sorted((folder / _NOTES).rglob("*.incomplete"))
    if unfinished:
        raise WeightsMissingError(
            f"The download of {folder.name!r} was not finished: {len(unfinished)} files are "
            "incomplete.",
            f"Finish it with the command that began it (hf download ... --local-dir {folder}).",
        )
    if not any(path.endswith(".safetensors") for path in sources):
        only = f", only pickles such as {sorted(pickles)[0]}" if pickles else ""
        raise WeightsMissingError(
            f"The folder {folder.name!r} has no safetensors file{only}.",
            "Pickled weights can run code and are never loaded; get a copy in safetensors."
            if pickles
            else "Give the folder that holds config.json and the weights.",
        )
    return sources


def _is_skipped(name: str) -> bool:
    return name in _SKIPPED_NAMES or name.endswith(_SKIPPED_SUFFIXES)


def _check_content(path: str, source: Path, size: int) -> None:
    if size > 1024:
        return
    with source.open("rb") as file:
        is_pointer = file.read(len(_POINTER)) == _POINTER
    if is_pointer:
        raise WeightsMissingError(
            f"The file {path!r} is a pointer of git-lfs: its content was not downloaded.",
            "Run git lfs pull in the folder, then import it again.",
        )


def _read_note(folder: Path, path: str, source: Path) -> tuple[str | None, str | None]:
    """Commit and etag that the hub client noted, if the file was not changed since."""
    try:
        note = (folder / _NOTES / f"{path}.metadata").read_text(encoding="utf-8")
        commit, etag, noted_at = note.split("\n")[:3]
        # the same second of grace as the hub client's
        is_valid = source.stat().st_mtime - 1 <= float(noted_at)
    except (OSError, ValueError):
        return None, None
    etag = etag.strip().strip('"')
    if not is_valid or not _COMMIT.fullmatch(commit) or not _ETAG.fullmatch(etag):
        return None, None
    return commit, etag


def _hash(
    source: Path,
    size: int,
    checksums: ChecksumStore,
    on_bytes: Callable[[int], None],
    is_cancelled: Callable[[], bool] | None,
) -> str:
    if size >= _LARGE_BYTES or source.suffix in _LARGE_SUFFIXES:
        return checksums.sha256_of(source, on_bytes, is_cancelled)
    on_bytes(size)
    return git_blob_sha1(source)
