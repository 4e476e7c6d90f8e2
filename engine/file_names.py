"""Names of files and folders of weights: which lead out of their place, what a message calls one.

Invariant: nothing is looked up on disk, and no name that is shown holds a path of this machine.
"""

from __future__ import annotations

from pathlib import Path

_REPO_PREFIX = "models--"


def is_inside(relative: str) -> bool:
    """Whether a relative path, with `/` between its parts, stays below where it starts."""
    parts = relative.split("/")
    return not (
        relative.startswith(("/", "~"))
        or "\\" in relative
        or "\0" in relative
        or any(part in ("", ".", "..") for part in parts)
    )


def shown_name(folder: Path) -> str:
    """What a message calls a folder: `org/name:inside` in a cache, else the folder's own name.

    In a cache a folder's own name is a commit, which tells nobody which model is meant.
    """
    for snapshot in (folder, *folder.parents):
        repository = snapshot.parent.parent
        if snapshot.parent.name != "snapshots" or not repository.name.startswith(_REPO_PREFIX):
            continue
        repo_id = repository.name.removeprefix(_REPO_PREFIX).replace("--", "/")
        inside = folder.relative_to(snapshot).as_posix()
        return repo_id if inside == "." else f"{repo_id}:{inside}"
    return folder.name
