"""Reads every byte of a component and compares it: with the hub, or with what was noted before.

Invariant: verifying changes no file of weights; what it finds is noted, so that nobody reads 50 GB
twice to know that they are right. A fault is part of the report, never an exception.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from safetensors import SafetensorError, safe_open

from engine.definitions import SaeOverrides
from engine.errors import DownloadError, EngineError, RequestError, WeightsMissingError
from engine.model_config import INDEX_FILE
from engine.sae_config import read_sae_config
from engine.weights.caches import repo_of_folder
from engine.weights.checksums import ChecksumStore, folder_key, read_stamp, repository_key
from engine.weights.git_objects import git_blob_sha1
from engine.weights.hub import Hub, HubFile, list_files
from engine.weights.layout import CONFIG_FILE, is_unused, list_shards, sae_files, tokenizer_files
from engine.weights.locate import parse_location
from engine.weights.parts import Component, ComponentStatus, FileFault, VerifyReport
from engine.weights.rate import Meter, OnProgress

Against = Literal["hub", "record", "nothing"]
_DAMAGED = "Its bytes are not those that were published."
_CHANGED = "Its bytes are not those that were noted when it was first read."


@dataclass(frozen=True, slots=True)
class _Subject:
    """What is verified: `files` are relative to `root`, the snapshot or the local folder.

    Attributes:
        prefix: from `root` to `folder`, empty or with a `/` at its end.
    """

    status: ComponentStatus
    root: Path
    folder: Path
    key: str
    repo_id: str | None
    commit: str | None
    prefix: str
    files: tuple[str, ...]


def verify_component(
    status: ComponentStatus,
    checksums: ChecksumStore,
    hub: Hub,
    on_progress: OnProgress,
    is_cancelled: Callable[[], bool],
    overrides: SaeOverrides | None = None,
) -> VerifyReport:
    """Verifies a component that is on this machine, at least in part.

    Args:
        status: of the component, as the inventory tells it.
        hub: asked for its checksums where the component is a repository's and the hub is reached;
            else those that were noted at the download are taken.
        on_progress: called a few times a second, from this thread.
        overrides: of the source, for an SAE whose files leave something open.

    Raises:
        WeightsMissingError: if nothing of it is here.
        TransferCancelled: if `is_cancelled` says so.
    """
    if status.folder is None:
        problem = status.problem or f"{status.location!r} is not on this machine."
        raise WeightsMissingError(problem, status.hint)
    subject = _subject(status, status.folder)
    faults = [
        FileFault(path, "It is missing.")
        for path in status.missing
        if not (subject.root / path).is_file()
    ]
    expected, against = _expectations(subject, checksums, hub, is_cancelled)
    sizes = {path: (subject.root / path).stat().st_size for path in subject.files}
    meter = Meter("verifying", len(sizes), sum(sizes.values()), on_progress)
    meter.report()
    sums: dict[str, tuple[int, str]] = {}
    for path in subject.files:
        meter.add(current=path)
        fault = _check_file(subject, path, expected, checksums, sums, meter, is_cancelled)
        meter.add(n_files=1)
        if fault is not None:
            faults.append(FileFault(path, fault))
    faulty = {fault.path for fault in faults}
    if against != "record":
        right = {path: known for path, known in sums.items() if path not in faulty}
        checksums.record(subject.key, right)
    faults += _check_meaning(subject, faulty, overrides or SaeOverrides())
    meter.report()
    return VerifyReport(
        component=status.component,
        location=status.location,
        revision=status.revision,
        against=against,
        n_files=len(sums),
        n_bytes=sum(size for size, _ in sums.values()),
        faults=tuple(faults),
    )


def list_files_of(component: Component, folder: Path) -> tuple[str, ...]:
    """The files of a component that are in its folder, relative to it."""
    if component == "tokenizer":
        return tokenizer_files(folder)[0]
    if component == "sae":
        return sae_files(folder)[0]
    names = [CONFIG_FILE, INDEX_FILE, "generation_config.json"]
    try:
        names += list_shards(folder)
    except WeightsMissingError:
        # What is wrong with the index is said by whoever reads the index.
        found = sorted(path.name for path in folder.glob("*.safetensors"))
        names += [name for name in found if not is_unused(name)]
    return tuple(name for name in dict.fromkeys(names) if (folder / name).is_file())


def _subject(status: ComponentStatus, folder: Path) -> _Subject:
    commit = status.revision
    root = folder
    for parent in (folder, *folder.parents):
        if parent.name == commit and parent.parent.name == "snapshots":
            root = parent
            break
    else:
        commit = None
    place = parse_location(status.location)
    if commit is None and place.path is not None:
        root = place.path
    repo_id = repo_of_folder(root.parents[1]) if commit else None
    key = repository_key(repo_id, commit) if repo_id and commit else folder_key(root)
    inside = os.path.relpath(folder, root)
    prefix = "" if inside == "." else f"{Path(inside).as_posix()}/"
    files = tuple(f"{prefix}{name}" for name in list_files_of(status.component, folder))
    return _Subject(status, root, folder, key, repo_id, commit, prefix, files)


def _expectations(
    subject: _Subject, checksums: ChecksumStore, hub: Hub, is_cancelled: Callable[[], bool]
) -> tuple[Mapping[str, HubFile], Against]:
    """What the files should be, and who says so."""
    if subject.repo_id is not None and not hub.is_offline:
        try:
            return list_files(hub, subject.repo_id, subject.commit, is_cancelled).files, "hub"
        except (DownloadError, RequestError):
            # Not reached, or no longer shown: then what was noted has to do.
            pass
    record = checksums.find_record(subject.key) or {}
    noted = {path: HubFile(size, sha256, None) for path, (size, sha256) in record.items()}
    # A record that says nothing of these files is none.
    return noted, "record" if set(noted) & set(subject.files) else "nothing"


def _check_file(
    subject: _Subject,
    path: str,
    expected: Mapping[str, HubFile],
    checksums: ChecksumStore,
    sums: dict[str, tuple[int, str]],
    meter: Meter,
    is_cancelled: Callable[[], bool],
) -> str | None:
    """Reads a file, notes its checksum in `sums`; what is wrong with it, or None."""
    file = subject.root / path
    should = expected.get(path)
    try:
        stamp = read_stamp(file)
        sha256 = checksums.sha256_of(file, meter.add, is_cancelled, is_fresh=True)
        oid = git_blob_sha1(file) if should and should.sha256 is None else None
    except OSError as error:
        return f"It cannot be read: {error.strerror}."
    sums[path] = (stamp.size, sha256)
    fault: str | None = None
    if should is not None:
        if stamp.size != should.size_bytes:
            fault = f"It has {stamp.size:,} bytes instead of {should.size_bytes:,}."
        elif should.sha256 is not None and sha256 != should.sha256:
            fault = _DAMAGED if subject.repo_id else _CHANGED
        elif should.git_oid is not None and should.sha256 is None and oid != should.git_oid:
            fault = _DAMAGED
    fault = fault or _check_header(file)
    if should is not None or fault is not None:
        checksums.mark_checked(subject.key, fault is None, {path: stamp})
    return fault


def _check_header(file: Path) -> str | None:
    """Whether a safetensors file is as long as its header says, to the byte."""
    if file.suffix != ".safetensors":
        return None
    try:
        with safe_open(file, framework="numpy"):
            return None
    except (SafetensorError, OSError) as error:
        return f"It is no whole safetensors file: {str(error).rstrip('.')[:120]}."


def _check_meaning(subject: _Subject, faulty: set[str], overrides: SaeOverrides) -> list[FileFault]:
    """Faults of files that are right byte for byte, but do not belong together."""
    component, folder = subject.status.component, subject.folder
    if component == "sae" and not faulty:
        try:
            read_sae_config(folder, overrides)
        except EngineError as error:
            return [FileFault("config", f"{error.message} {error.hint}".strip())]
    if component == "model":
        try:
            missing = [name for name in list_shards(folder) if not (folder / name).is_file()]
        except WeightsMissingError as error:
            return [FileFault(INDEX_FILE, error.message)]
        return [
            FileFault(f"{subject.prefix}{name}", "The index names it, and it is missing.")
            for name in missing
            if f"{subject.prefix}{name}" not in faulty
        ]
    return []
