"""Where a model or an SAE lies on this machine: a local folder, the project's or global cache.

Invariant: nothing here downloads or opens a connection; what is not there, or not whole, is an
error that names what helps.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from engine.definitions import SourceDefinition
from engine.errors import HF_COMMAND, WEIGHTS_COMMAND, EngineError, WeightsMissingError
from engine.file_names import is_inside
from engine.model_config import INDEX_FILE
from engine.weights.caches import Caches, converted_folder, repo_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.fingerprint import FingerprintCache
from engine.weights.layout import (
    SAE_CONFIGS,
    cut_files,
    dangling_files,
    find_folders,
    find_sae_folders,
    is_there,
    is_unused,
    list_shards,
)
from engine.weights.snapshots import SnapshotFault, find_snapshots

REGISTRY_PREFIX = "sae-lens:"
Place = Literal["folder", "local", "linked", "global"]


@dataclass(frozen=True, slots=True)
class Located:
    """A folder of weights.

    Attributes:
        folder: where the files are.
        name: repository, `repository:folder`, or the local folder's name; free of machine paths.
        commit: of a repository's snapshot; None for a local folder.
        place: `folder` is one of the user's own; else the cache that it was found in.
        root: the snapshot or local folder that `folder` is or lies in.
        repo_id: None for a local folder.
    """

    folder: Path
    name: str
    commit: str | None
    place: Place
    root: Path
    repo_id: str | None = None


@dataclass(frozen=True, slots=True)
class Location:
    """What the name of a model or SAE means; exactly one of the three kinds.

    Attributes:
        path: of a local folder, absolute.
        repo_id: `org/name`; `inside` is the folder in it, or empty.
        registry: release and id in sae-lens's registry.
    """

    path: Path | None = None
    repo_id: str | None = None
    inside: str = ""
    registry: tuple[str, str] | None = None


def parse_location(text: str) -> Location:
    """Reads `org/name`, `org/name:folder/inside`, a path, or `sae-lens:RELEASE/SAE_ID`.

    What exists as a path is one, and so is what begins like one.

    Raises:
        WeightsMissingError: if it can be none of these.
    """
    if text.startswith(REGISTRY_PREFIX):
        release, _, sae_id = text.removeprefix(REGISTRY_PREFIX).partition("/")
        if not release or not sae_id:
            raise WeightsMissingError(
                f"{text[:80]!r} names no SAE of sae-lens's registry.",
                "Write sae-lens:RELEASE/SAE_ID, as sae-lens's documentation lists them.",
            )
        return Location(registry=(release, sae_id))
    path = os.path.expanduser(text)
    if text.startswith((".", "/", "~")) or (text and os.path.lexists(path)):
        return Location(path=Path(os.path.abspath(path)))
    repo_id, colon, inside = text.partition(":")
    repo_folder(Path(), repo_id)
    inside = inside.rstrip("/")
    if colon and not is_inside(inside):
        raise WeightsMissingError(
            f"{inside[:80]!r} is no folder inside of {repo_id!r}.",
            "Write org/name:folder, with a folder of the repository.",
        )
    return Location(repo_id=repo_id, inside=inside)


def list_repositories(definition: SourceDefinition) -> tuple[str, ...]:
    """The repositories that a source's files come from, each once; of its own folders, none."""
    found = []
    for location in filter(None, (definition.model, definition.sae)):
        try:
            parsed = parse_location(location)
            if parsed.registry is not None:
                # imported here: reading the registry takes most of a second
                from engine.registry import resolve_location

                parsed = parse_location(resolve_location(location))
        except EngineError:
            # what is wrong with it is said by whoever looks for it
            continue
        if parsed.repo_id is not None:
            found.append(parsed.repo_id)
    return tuple(dict.fromkeys(found))


class Locator:
    """Finds weights in local folders and in Hugging Face caches, the project's first."""

    def __init__(self, caches: Caches, checksums: ChecksumStore) -> None:
        self._caches = caches
        self._fingerprints = FingerprintCache(checksums)

    def locate(
        self,
        location: str,
        needed: str | tuple[str, ...],
        revision: str | None = None,
        source: str | None = None,
    ) -> Located:
        """Finds a repository's snapshot or a local folder; one that is whole, if any is.

        Args:
            location: `org/name`, `org/name:folder/inside`, `sae-lens:RELEASE/SAE_ID`, or a path.
            needed: a file that must be in the folder, such as `config.json`; of several, one.
            revision: branch, tag or commit; None is the main branch. Of a repository alone.
            source: name of the source that this is for; hints then say how to download that.

        Raises:
            WeightsMissingError: if it is not on this machine, or not whole.
        """
        wanted = (needed,) if isinstance(needed, str) else needed
        parsed = parse_location(location)
        if parsed.path is not None:
            return _local(parsed.path, wanted)
        if parsed.registry is not None:
            folder = converted_folder(self._caches, *parsed.registry)
            if not folder.is_dir():
                raise WeightsMissingError(
                    f"{location[:120]!r} is not on this machine.", download_hint(source or "SOURCE")
                )
            return Located(one_folder(folder, wanted, location), location, None, "local", folder)
        assert parsed.repo_id is not None
        return self._cached(parsed.repo_id, parsed.inside, wanted, revision, source)

    def revision(self, located: Located) -> str:
        """The commit, or `sha256:...` of a local folder's content.

        Reads all of a local folder when it is asked for the first time or a file of it changed.

        Raises:
            WeightsMissingError: if a file cannot be read.
        """
        return located.commit or self._fingerprints.fingerprint(located.folder)

    def _cached(
        self,
        repo_id: str,
        inside: str,
        needed: tuple[str, ...],
        revision: str | None,
        source: str | None,
    ) -> Located:
        fetch = download_hint(source) if source else self._fetch_hint(repo_id)
        snapshots, faults = find_snapshots(self._caches, repo_id, revision)
        errors: list[WeightsMissingError] = []
        for snapshot in snapshots:
            try:
                root = snapshot.folder
                folder = one_folder(root / inside if inside else root, needed, repo_id, fetch)
                check_whole(folder, repo_id, fetch)
            except WeightsMissingError as error:
                errors.append(error)
                continue
            relative = folder.relative_to(root).as_posix()
            name = repo_id if relative == "." else f"{repo_id}:{relative}"
            return Located(folder, name, snapshot.commit, snapshot.place, root, repo_id)
        if errors:
            raise errors[0]
        fault = (
            faults[0]
            if faults
            else SnapshotFault("missing", f"{repo_id!r} is not on this machine.")
        )
        raise WeightsMissingError(fault.problem, fault.hint or fetch)

    def _fetch_hint(self, repo_id: str) -> str:
        folder = shlex.quote(str(self._caches.project))
        return f"Fetch it with: {HF_COMMAND} download {repo_id} --cache-dir {folder}"


def download_hint(source: str) -> str:
    """The sentence that says how to get what is missing of a source."""
    return f"Fetch it with: {WEIGHTS_COMMAND} download {source}"


def check_whole(folder: Path, shown: str, hint: str) -> None:
    """Refuses a folder in which files are missing or cut short, as far as it says so itself.

    Raises:
        WeightsMissingError: naming the first of the files.
    """
    try:
        _check_whole(folder, shown, hint)
    except OSError as error:
        raise WeightsMissingError(
            f"The files of {shown!r} cannot be read: {error.strerror}.",
            "Make them readable for this user.",
        ) from error


def _check_whole(folder: Path, shown: str, hint: str) -> None:
    has_index = os.path.lexists(folder / INDEX_FILE)
    shards = list_shards(folder) if has_index else ()
    missing = {name for name in shards if not is_there(folder / name)}
    missing |= set(dangling_files(folder))
    if missing:
        n_files = len({*shards, *missing})
        first = ", ".join(sorted(missing)[:3])
        raise WeightsMissingError(
            f"{shown!r} lacks {len(missing)} of {n_files} files of weights: {first}.", hint
        )
    names = shards or [name for name in os.listdir(folder) if not is_unused(name)]
    cut = cut_files(folder, sorted(names))
    if cut:
        raise WeightsMissingError(f"The file {cut[0]} of {shown!r} is cut short.", hint)


def one_folder(root: Path, needed: tuple[str, ...], shown: str, hint: str = "") -> Path:
    """The one folder at or below `root` that holds one of the files `needed`.

    If the configs of SAEs are needed, it is the one that is an SAE's.

    Raises:
        WeightsMissingError: if there is none, or more than one.
    """
    is_sae = needed == SAE_CONFIGS
    found = find_sae_folders(root) if is_sae else find_folders(root, needed)
    if len(found) == 1:
        return found[0]
    if not found:
        raise WeightsMissingError(
            f"{shown!r} has no {' or '.join(needed)}.",
            hint or "Check that it is whole, and of the kind that is needed.",
        )
    choices = ", ".join(path.relative_to(root).as_posix() for path in found[:5])
    raise WeightsMissingError(
        f"{shown!r} holds {len(found)} folders with a {needed[0]}: {choices}.",
        "Name one, as in org/name:folder, or give the folder's own path.",
    )


def check_local(path: Path) -> None:
    """Refuses a path that is no folder of this user's.

    Raises:
        WeightsMissingError: if it is not there, no folder, a broken link, or unreadable.
    """
    hint = "Check the path, or give the name of a repository: org/name."
    if os.path.islink(path) and not os.path.exists(path):
        raise WeightsMissingError(f"The link {path.name!r} leads nowhere.", hint)
    try:
        with os.scandir(path):
            return
    except (FileNotFoundError, NotADirectoryError) as error:
        kind = "folder" if isinstance(error, FileNotFoundError) else "folder, but a file,"
        raise WeightsMissingError(f"There is no {kind} {str(path)!r}.", hint) from error
    except OSError as error:
        raise WeightsMissingError(
            f"The folder {path.name[:80]!r} cannot be read: {error.strerror}.",
            "Make it readable for this user.",
        ) from error


def _local(path: Path, needed: tuple[str, ...]) -> Located:
    check_local(path)
    folder = one_folder(path, needed, path.name)
    check_whole(folder, path.name, "Copy the files again from where they were published.")
    return Located(folder, Path(os.path.realpath(folder)).name, None, "folder", path)
