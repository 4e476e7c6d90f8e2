"""Removing weights from a cache, after a plan that says what goes, what stays and what that frees.

Invariant: removing a link never removes what it leads to, and nothing outside of the two caches is
removed. Content that another repository of the cache uses stays; the hub client, which keeps
account of that, does the removing. After an interruption the same call removes the rest.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from engine.definitions import SourceDefinition
from engine.errors import WEIGHTS_COMMAND, WeightsMissingError
from engine.weights.caches import Caches, converted_folder, repo_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.disk_use import measure
from engine.weights.inventory import list_components
from engine.weights.link import leads_into
from engine.weights.locate import list_repositories, parse_location

ClearScope = Literal["local", "global"]


@dataclass(frozen=True, slots=True)
class ClearItem:
    """Something that goes.

    Attributes:
        kind: `link` (its target stays), `folder` of a repository, or `conversion` of an SAE.
        freed_bytes: that the disk has more afterwards. shared_bytes: of files that have another
            name elsewhere on the disk, and so stay on it.
    """

    name: str
    kind: Literal["link", "folder", "conversion"]
    path: Path
    freed_bytes: int
    shared_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ClearPlan:
    """What clearing a source or repository would do.

    Attributes:
        items: what goes. keeps: one sentence for each thing that stays, and why.
        needed_by: of what goes although other sources, which are whole here, are made of it: the
            names of those sources.
    """

    what: str
    scope: ClearScope
    cache: Path
    items: tuple[ClearItem, ...]
    keeps: tuple[str, ...]
    needed_by: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def freed_bytes(self) -> int:
        """Bytes that the disk has more afterwards."""
        return sum(item.freed_bytes for item in self.items)


def plan_clear(
    what: str,
    scope: ClearScope,
    definitions: Mapping[str, SourceDefinition],
    caches: Caches,
    checksums: ChecksumStore,
) -> ClearPlan:
    """Finds what would go; nothing is changed.

    Args:
        what: a source's name, or a repository, `org/name`. What a source shares with another that
            is whole here stays; a repository that is named goes all the same, and the plan names
            the sources that need it.
        scope: `local` is the project's cache alone; `global` the global one, and the project's
            links to it.

    Raises:
        WeightsMissingError: if both caches are one and the scope is `local`; if the weights are
            folders of the user's own, or what is named is neither source nor repository.
    """
    if scope == "local" and caches.is_one:
        raise WeightsMissingError(
            f"The project's cache is the global cache itself: {str(caches.shared)!r}.",
            "Give --global to remove from it.",
        )
    keeps: list[str] = []
    items: list[ClearItem] = []
    if what in definitions:
        repo_ids, conversions = _wanted(definitions[what], scope, caches, keeps)
        needed = _needed_by_others(what, definitions, caches, checksums)
    else:
        repo_ids, conversions, needed = [_repository(what)], {}, {}
    for repo_id in repo_ids:
        if repo_id in needed:
            keeps.append(f"{repo_id}: the source {needed[repo_id]!r} uses it too.")
        elif scope == "local":
            items += _local_items(caches, repo_id, keeps)
        else:
            items += _global_items(caches, repo_id, keeps)
    for name, folder in conversions.items():
        if name in needed:
            keeps.append(f"{name}: the source {needed[name]!r} uses it too.")
        elif folder.is_dir():
            items.append(_folder_item(name, "conversion", folder, caches.project))
    cache = caches.project if scope == "local" else caches.shared
    lost = {item.name for item in items if not _is_elsewhere(item, caches)}
    needed_by = _users(lost, what, definitions, caches, checksums)
    return ClearPlan(what, scope, cache, tuple(items), tuple(keeps), needed_by)


def clear(plan: ClearPlan) -> None:
    """Does what a plan says; what is gone already is no error.

    Raises:
        WeightsMissingError: if something cannot be removed; what comes before it is gone.
    """
    for item in plan.items:
        try:
            if item.kind == "link":
                # checked again: a folder may have taken the link's place since the plan was made
                if item.path.is_symlink():
                    item.path.unlink()
            elif not item.path.is_symlink():
                if item.kind == "folder":
                    _remove_repository(item.path, plan.cache)
                else:
                    shutil.rmtree(item.path)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise WeightsMissingError(
                f"{item.name!r} cannot be removed from {str(item.path.parent)!r}: "
                f"{error.strerror}.",
                "Make the folder writable for this user, and run the command again.",
            ) from error


def _repository(name: str) -> str:
    parsed = parse_location(name)
    if parsed.path is not None:
        raise WeightsMissingError(
            f"{name[:120]!r} is a folder of your own; only the caches are cleared.",
            "Remove it yourself if you do not need it.",
        )
    if parsed.repo_id is None or "/" not in parsed.repo_id:
        raise WeightsMissingError(
            f"There is no source named {name[:80]!r}.",
            f"See them with: {WEIGHTS_COMMAND} status; or name a repository: org/name.",
        )
    return parsed.repo_id


def _wanted(
    definition: SourceDefinition, scope: ClearScope, caches: Caches, keeps: list[str]
) -> tuple[list[str], dict[str, Path]]:
    """Repositories and conversions of a source; folders of the user's own are told as kept."""
    conversions: dict[str, Path] = {}
    own: list[str] = []
    for location in _locations(definition):
        parsed = parse_location(location)
        if parsed.path is not None:
            own.append(location)
        elif parsed.registry is not None and (scope == "local" or caches.is_one):
            conversions[location] = converted_folder(caches, *parsed.registry)
    repo_ids = list(list_repositories(definition))
    if own and not repo_ids and not conversions:
        raise WeightsMissingError(
            f"The weights of {definition.name!r} are in a folder of their own, not in a cache.",
            "Nothing was removed; only the caches are cleared.",
        )
    keeps += [f"{location}: it is a folder of your own." for location in own]
    return repo_ids, conversions


def _needed_by_others(
    what: str,
    definitions: Mapping[str, SourceDefinition],
    caches: Caches,
    checksums: ChecksumStore,
) -> dict[str, str]:
    """Repositories and conversions that another source, which is whole here, uses; by its name."""
    needed: dict[str, str] = {}
    mine = _parts(definitions[what])
    for name, definition in definitions.items():
        theirs = _parts(definition)
        # two sources of the same parts would keep each other for ever
        if name == what or not mine & theirs or theirs <= mine:
            continue
        if _is_whole(definition, caches, checksums):
            needed |= dict.fromkeys(mine & theirs, name)
    return needed


def _is_elsewhere(item: ClearItem, caches: Caches) -> bool:
    """Whether what goes is also in the other cache, and so goes on serving."""
    if item.kind == "conversion":
        return False
    if item.kind == "link":
        return leads_into(item.path, caches.shared)
    is_project = item.path.parent == caches.project
    other = repo_folder(caches.shared if is_project else caches.project, item.name)
    return other != item.path and other.is_dir() and not other.is_symlink()


def _users(
    lost: Collection[str],
    what: str,
    definitions: Mapping[str, SourceDefinition],
    caches: Caches,
    checksums: ChecksumStore,
) -> dict[str, tuple[str, ...]]:
    """The sources, other than `what`, that are whole here and made of what is lost; by its name."""
    users: dict[str, tuple[str, ...]] = {}
    for name, definition in definitions.items():
        theirs = sorted(_parts(definition).intersection(lost)) if name != what else []
        if theirs and _is_whole(definition, caches, checksums):
            users |= {part: (*users.get(part, ()), name) for part in theirs}
    return users


def _is_whole(definition: SourceDefinition, caches: Caches, checksums: ChecksumStore) -> bool:
    return all(part.is_usable for part in list_components(definition, caches, checksums))


def _locations(definition: SourceDefinition) -> list[str]:
    return [location for location in (definition.model, definition.sae) if location]


def _parts(definition: SourceDefinition) -> set[str]:
    """What a source is made of: its locations, and the repositories that they are in."""
    return {*_locations(definition), *list_repositories(definition)}


def _local_items(caches: Caches, repo_id: str, keeps: list[str]) -> list[ClearItem]:
    path = repo_folder(caches.project, repo_id)
    if path.is_symlink():
        if path.exists():
            keeps.append(f"{os.path.realpath(path)}: only the link to it goes.")
        return [ClearItem(repo_id, "link", path, 0)]
    if not path.is_dir():
        if repo_folder(caches.shared, repo_id).is_dir():
            keeps.append(f"{repo_id}: it is in the global cache alone; --global removes it there.")
        return []
    return [_folder_item(repo_id, "folder", path, caches.project)]


def _global_items(caches: Caches, repo_id: str, keeps: list[str]) -> list[ClearItem]:
    path, link = repo_folder(caches.shared, repo_id), repo_folder(caches.project, repo_id)
    items = []
    if path.is_symlink():
        if path.exists():
            keeps.append(f"{os.path.realpath(path)}: only the link to it goes.")
        items.append(ClearItem(repo_id, "link", path, 0))
    elif path.is_dir():
        items.append(_folder_item(repo_id, "folder", path, caches.shared))
    if caches.is_one or not items:
        return items
    if link.is_symlink() and os.path.realpath(link) == os.path.realpath(path):
        # first, so that an interruption leaves no link that leads nowhere
        items.insert(0, ClearItem(repo_id, "link", link, 0))
    elif link.is_dir():
        keeps.append(f"{repo_id}: the project's cache has a copy of its own; --local removes it.")
    return items


def _folder_item(
    name: str, kind: Literal["folder", "conversion"], path: Path, cache: Path
) -> ClearItem:
    use = measure(path, cache)
    return ClearItem(name, kind, path, use.freed_bytes, use.shared_bytes)


def _remove_repository(path: Path, cache: Path) -> None:
    # imported here: the hub client takes half a second, and nothing else in this file needs it
    from huggingface_hub import DeleteCacheStrategy

    if not os.access(path.parent, os.W_OK):
        # else its files would go, and only then the folder could not
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path.parent))
    DeleteCacheStrategy(
        expected_freed_size=0,
        blobs=frozenset(),
        files=frozenset(),
        refs=frozenset(),
        repos=frozenset({path}),
        snapshots=frozenset(),
        cache_dir=cache,
    ).execute()
    if path.exists():
        # it only warns of what it could not remove; this says what is in the way
        shutil.rmtree(path)
