"""The two caches of weights on this machine: the project's own, and the hub client's shared one.

Invariant: nothing is created here, and no link is followed for good: a path is kept as it was
written, so that a cache that is moved and linked back is still found under its name.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from engine.errors import WeightsMissingError

REPO_PREFIX = "models--"
RECORDS_FOLDER = ".featurebook"
"""Folder in the project's cache for what Featurebook notes about files: checksums, conversions."""
_REPO_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?", re.ASCII)
_MAX_REPO_ID = 96


@dataclass(frozen=True, slots=True)
class Caches:
    """Folders of repositories, both in the layout of the hub client.

    Attributes:
        project: MODEL_CACHE_DIR, searched first; downloads go to it. shared: the global cache.
    """

    project: Path
    shared: Path

    @property
    def is_one(self) -> bool:
        """Whether both are the same folder."""
        try:
            return self.project == self.shared or self.project.samefile(self.shared)
        except OSError:
            return False

    @property
    def records(self) -> Path:
        """Where checksums and other notes are kept."""
        return self.project / RECORDS_FOLDER


def find_caches(
    model_cache_dir: Path | str, hf_home: Path | str | None, hf_hub_cache: Path | str | None
) -> Caches:
    """The caches that the settings name.

    Args:
        model_cache_dir: MODEL_CACHE_DIR; `~` and variables in it are expanded.
        hf_home: HF_HOME; its folder `hub` is the shared cache. None is the hub client's default,
            `huggingface` in XDG_CACHE_HOME or `~/.cache`.
        hf_hub_cache: HF_HUB_CACHE, the shared cache itself; beats `hf_home`.

    Raises:
        WeightsMissingError: if one of them is a file, or a link that leads nowhere.
    """
    if hf_hub_cache is not None:
        shared, setting = _absolute(hf_hub_cache), "HF_HUB_CACHE"
    elif hf_home is not None:
        shared, setting = _absolute(hf_home) / "hub", "HF_HOME"
    else:
        home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        shared, setting = _absolute(home) / "huggingface" / "hub", "HF_HOME"
    project = _absolute(model_cache_dir)
    _check_folder(project, "MODEL_CACHE_DIR")
    _check_folder(shared, setting)
    return Caches(project, shared)


def is_repo_id(text: str) -> bool:
    """Whether a text can be the name of a repository: `org/name`, or an old one's `name`."""
    return (
        _REPO_ID.fullmatch(text) is not None
        and len(text) <= _MAX_REPO_ID
        and not re.search(r"--|\.\.", text)
        and not text.endswith((".", "-", ".git"))
    )


def repo_folder(cache: Path, repo_id: str) -> Path:
    """The folder of a repository in a cache, whether or not it exists.

    Raises:
        WeightsMissingError: if `repo_id` is no name of a repository.
    """
    if not is_repo_id(repo_id):
        raise WeightsMissingError(
            f"{repo_id[:80]!r} is neither a folder nor a repository's name.",
            "Write org/name, or the path of a folder.",
        )
    return cache / f"{REPO_PREFIX}{repo_id.replace('/', '--')}"


def repo_of_folder(folder: Path) -> str | None:
    """The repository that a folder of a cache holds, by its name; None if it holds none."""
    if not folder.name.startswith(REPO_PREFIX):
        return None
    repo_id = folder.name.removeprefix(REPO_PREFIX).replace("--", "/")
    return repo_id if is_repo_id(repo_id) else None


def converted_folder(caches: Caches, release: str, sae_id: str) -> Path:
    """Where an SAE of sae-lens's registry is kept once it is converted, existing or not.

    Raises:
        WeightsMissingError: if release or id would lead out of the folder of conversions.
    """
    parts = [release, *sae_id.split("/")]
    if any(part in ("", ".", "..") or os.sep in part or "\0" in part for part in parts):
        raise WeightsMissingError(
            f"{f'{release}/{sae_id}'[:80]!r} is no SAE of sae-lens's registry.",
            "Write sae-lens:RELEASE/SAE_ID, as sae-lens's documentation lists them.",
        )
    return caches.records.joinpath("converted", *parts)


def _absolute(path: Path | str) -> Path:
    # variables too, as the hub client does: HF_HOME=$HOME/weights in .env
    return Path(os.path.abspath(os.path.expanduser(os.path.expandvars(path))))


def _check_folder(path: Path, setting: str) -> None:
    """Refuses a cache that cannot be one: it, or a folder on the way to it, is no folder."""
    for part in (path, *path.parents):
        try:
            if part.is_dir():
                return
            is_there = part.is_symlink() or part.exists()
        except OSError as error:
            raise WeightsMissingError(
                f"The cache folder {str(path)!r} cannot be read: {error.strerror}.",
                f"Make it readable for this user, or set {setting} to another folder.",
            ) from error
        if is_there:
            kind = "a link that leads nowhere" if part.is_symlink() else "a file"
            raise WeightsMissingError(
                f"The cache folder {str(path)!r} cannot be used: {str(part)!r} is {kind}.",
                f"Remove it or move it away, or set {setting} to a folder.",
            )
