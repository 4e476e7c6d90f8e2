"""What is on this machine of each component of a source, and what to do about what is not.

Invariant: looking takes file names, sizes and headers, no more: it never hashes, never opens a
connection, and raises nothing: what is wrong is part of the answer.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from engine.definitions import SourceDefinition
from engine.errors import EngineError, WeightsMissingError
from engine.model_config import INDEX_FILE
from engine.weights.caches import Caches, converted_folder
from engine.weights.checksums import ChecksumStore, folder_key, repository_key
from engine.weights.fingerprint import FingerprintCache
from engine.weights.layout import (
    CONFIG_FILE,
    SAE_CONFIGS,
    cut_files,
    find_folders,
    find_sae_folders,
    has_pickles,
    is_there,
    list_shards,
    sae_files,
    tokenizer_files,
)
from engine.weights.locate import (
    Location,
    check_local,
    download_hint,
    one_folder,
    parse_location,
)
from engine.weights.parts import Component, ComponentStatus, PartState, SourceWeights
from engine.weights.plan import free_bytes
from engine.weights.snapshots import SnapshotFault, find_snapshots

_COPY_HINT = "Copy the files again from where they were published."
_PICKLE_HINT = (
    "Pickled weights can run code and are never loaded; get or make a copy in safetensors."
)
_MODEL_EXTRAS = ("generation_config.json",)


@dataclass(frozen=True, slots=True)
class _Place:
    """A folder that may hold a component.

    Attributes:
        root: the snapshot or local folder; `folder`, at or below it, is where to look.
        key: of its checksums. commit: None for a local folder.
        original: file that an SAE has that is converted when it is first loaded; else empty.
    """

    state: PartState
    root: Path
    folder: Path
    key: str
    commit: str | None
    shown: str
    link_target: Path | None = None
    original: str = ""


@dataclass(frozen=True, slots=True)
class _Contents:
    """What a folder has of a component: paths relative to `folder`."""

    folder: Path
    files: tuple[str, ...]
    missing: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""


def source_weights(
    definition: SourceDefinition, caches: Caches, checksums: ChecksumStore
) -> SourceWeights:
    """All components of a source, and the room in the project's cache."""
    return SourceWeights(
        source=definition.name,
        components=list_components(definition, caches, checksums),
        cache_dir=caches.project,
        free_bytes=free_bytes(caches.project),
    )


def list_components(
    definition: SourceDefinition, caches: Caches, checksums: ChecksumStore
) -> tuple[ComponentStatus, ...]:
    """Model and tokenizer, and the SAE if the source has one."""
    components: list[ComponentStatus] = []
    for component in ("model", "tokenizer"):
        components.append(
            _describe(
                component,
                definition.model,
                definition.model_revision,
                definition.name,
                caches,
                checksums,
            )
        )
    if definition.sae is not None:
        components.append(
            _describe(
                "sae", definition.sae, definition.sae_revision, definition.name, caches, checksums
            )
        )
    return tuple(components)


def _describe(
    component: Component,
    location: str | None,
    revision: str | None,
    source: str,
    caches: Caches,
    checksums: ChecksumStore,
) -> ComponentStatus:
    if location is None:
        return ComponentStatus(
            component, "", "missing", "unverified", None, 0, None,
            problem="The source names no model.",
            hint="Set MISTRAL_MODEL to the repository or folder of the model that the SAE reads.",
        )  # fmt: skip
    fetch = download_hint(source)
    try:
        places, fault = _find_places(parse_location(location), location, revision, caches)
    except EngineError as error:
        return _absent(component, location, SnapshotFault("missing", error.message, error.hint))
    first: ComponentStatus | None = None
    for place in places:
        status = _inspect(component, location, place, fetch, checksums)
        if status.is_usable:
            # a whole copy in the global cache serves, but a broken link beside it is still said
            target = fault.link_target if fault else status.link_target
            return replace(status, link_target=target)
        first = first or status
    if first is not None:
        return first
    fault = fault or SnapshotFault("missing", f"{location!r} is not on this machine.")
    return _absent(component, location, replace(fault, hint=fault.hint or fetch))


def _absent(component: Component, location: str, fault: SnapshotFault) -> ComponentStatus:
    return ComponentStatus(
        component=component,
        location=location,
        state=fault.state,
        check="unverified",
        revision=None,
        size_bytes=0,
        folder=None,
        link_target=fault.link_target,
        problem=fault.problem,
        hint=fault.hint,
    )


def _find_places(
    parsed: Location, location: str, revision: str | None, caches: Caches
) -> tuple[list[_Place], SnapshotFault | None]:
    """Where to look for a component, and what is wrong with the first cache that knows it."""
    original = ""
    if parsed.path is not None:
        check_local(parsed.path)
        path = parsed.path
        return [_Place("folder", path, path, folder_key(path), None, path.name)], None
    if parsed.registry is not None:
        folder = converted_folder(caches, *parsed.registry)
        if not sae_files(folder)[1]:
            return [_Place("local", folder, folder, folder_key(folder), None, location)], None
        parsed, original = _published(location)
    assert parsed.repo_id is not None
    snapshots, faults = find_snapshots(caches, parsed.repo_id, revision)
    places = [
        _Place(
            state=snapshot.place,
            root=snapshot.folder,
            folder=snapshot.folder / parsed.inside if parsed.inside else snapshot.folder,
            key=repository_key(snapshot.repo_id, snapshot.commit),
            commit=snapshot.commit,
            shown=location,
            link_target=snapshot.link_target,
            original=original,
        )
        for snapshot in snapshots
    ]
    return places, faults[0] if faults else None


def _published(location: str) -> tuple[Location, str]:
    """Where an SAE of the registry is published, and a file of it if it has to be converted."""
    # imported here: reading the registry takes most of a second, and few sources are in it
    from engine.registry import get_registered

    registered = get_registered(location)
    original = registered.needed if registered.needs_conversion else ""
    return parse_location(registered.location), original


def _inspect(
    component: Component, location: str, place: _Place, fetch: str, checksums: ChecksumStore
) -> ComponentStatus:
    hint = _COPY_HINT if place.state == "folder" else fetch
    try:
        contents = _READERS[component](place)
    except (WeightsMissingError, OSError) as error:
        if isinstance(error, WeightsMissingError):
            message, hint = error.message, error.hint or hint
        else:
            message = f"The files of {place.shown!r} cannot be read: {error.strerror}."
            hint = "Make them readable for this user."
        contents = _Contents(place.folder, (), problem=message, hint=hint)
    folder = contents.folder
    inside = os.path.relpath(folder, place.root)
    prefix = "" if inside == "." else f"{Path(inside).as_posix()}/"
    files = [prefix + name for name in contents.files]
    problem, hint = contents.problem, contents.hint or hint
    missing = (*contents.missing, *contents.cut)
    if not problem and contents.missing:
        problem = f"{_count(contents.missing, place.shown, component)}"
    elif not problem and contents.cut:
        problem = f"{place.shown!r} has a file that is cut short: {_names(contents.cut)}."
    state = place.state
    if problem:
        state = "partial" if files or missing else "missing"
    check = checksums.check_of(place.key, place.root, files)
    if contents.cut:
        check = "damaged"
    if not problem and check == "damaged":
        problem = f"Bytes of {place.shown!r} are not as they were published."
    revision = place.commit or FingerprintCache(checksums).find(folder)
    return ComponentStatus(
        component=component,
        location=location,
        state=state,
        check=check,
        revision=revision,
        size_bytes=_total_bytes(folder, contents.files),
        folder=folder,
        link_target=place.link_target,
        missing=tuple(prefix + name for name in missing),
        problem=problem,
        hint=hint if problem else "",
    )


def _read_model(place: _Place) -> _Contents:
    folder = one_folder(place.folder, (CONFIG_FILE, INDEX_FILE), place.shown, "")
    shards = list_shards(folder)
    index = (INDEX_FILE,) if os.path.lexists(folder / INDEX_FILE) else ()
    needed = tuple(dict.fromkeys((CONFIG_FILE, *index, *shards)))
    there = tuple(name for name in needed if is_there(folder / name))
    missing = tuple(name for name in needed if name not in there)
    extras = tuple(name for name in _MODEL_EXTRAS if is_there(folder / name))
    problem = hint = ""
    if not set(shards) & set(there) and has_pickles(folder):
        problem = f"{place.shown!r} has its weights only as pickles, not as safetensors."
        hint = _PICKLE_HINT
    return _Contents(
        folder, (*there, *extras), missing, cut_files(folder, there), problem=problem, hint=hint
    )


def _read_tokenizer(place: _Place) -> _Contents:
    found = find_folders(place.folder, (CONFIG_FILE, INDEX_FILE))
    folder = found[0] if len(found) == 1 else place.folder
    files, missing = tokenizer_files(folder)
    return _Contents(folder, files, missing)


def _read_sae(place: _Place) -> _Contents:
    if not place.folder.is_dir():
        raise WeightsMissingError(f"{place.shown!r} has no such folder.")
    if place.original:
        paths = (path for path in sorted(place.folder.rglob("*")) if path.is_file())
        there = tuple(path.relative_to(place.folder).as_posix() for path in paths)
        return _Contents(place.folder, there, () if place.original in there else (place.original,))
    found = find_sae_folders(place.folder)
    if not found and has_pickles(place.folder):
        raise WeightsMissingError(
            f"{place.shown!r} has its weights only as pickles, not as safetensors.", _PICKLE_HINT
        )
    if len(found) > 1:
        one_folder(place.folder, SAE_CONFIGS, place.shown)
    folder = found[0] if found else place.folder
    files, missing = sae_files(folder)
    return _Contents(folder, files, missing, cut_files(folder, files))


_READERS = {"model": _read_model, "tokenizer": _read_tokenizer, "sae": _read_sae}


def _count(missing: tuple[str, ...], shown: str, component: Component) -> str:
    what = {"model": "the model", "tokenizer": "the tokenizer", "sae": "the SAE"}[component]
    n_files = "1 file" if len(missing) == 1 else f"{len(missing)} files"
    return f"{shown!r} lacks {n_files} of {what}: {_names(missing)}."


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _total_bytes(folder: Path, names: Iterable[str]) -> int:
    total = 0
    for name in names:
        try:
            total += (folder / name).stat().st_size
        except OSError:
            continue
    return total
