"""Where a model or an SAE lies on this machine: a local folder, the project's or global cache.

Invariant: nothing here downloads or opens a connection; what is not there is an error that names
the command that fetches it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import WeightsMissingError
from engine.weights.fingerprint import FingerprintCache


@dataclass(frozen=True, slots=True)
class Located:
    """A folder of weights.

    Attributes:
        folder: where the files are.
        name: repository, `repository:folder`, or the local folder's name; free of machine paths.
        commit: of a repository's snapshot; None for a local folder.
    """

    folder: Path
    name: str
    commit: str | None


class Locator:
    """Finds weights in local folders and in Hugging Face caches, the project's first."""

    def __init__(self, project_cache: Path) -> None:
        self._project_cache = project_cache
        self._fingerprints = FingerprintCache()

    def locate(self, repo_or_folder: str, needed: str) -> Located:
        """Finds a repository's snapshot or a local folder.

        Args:
            repo_or_folder: `org/name`, `org/name:folder/inside`, or a path that exists.
            needed: a file that must be in the folder, such as `config.json`.

        Raises:
            WeightsMissingError: if it is not on this machine, or not whole.
        """
        path = Path(repo_or_folder).expanduser()
        if path.exists() or repo_or_folder.startswith((".", "/", "~")):
            return self._local(path, needed)
        repo_id, _, inside = repo_or_folder.partition(":")
        snapshot = self._snapshot(repo_id)
        folder = _one_folder(snapshot / inside, needed, repo_id)
        relative = folder.relative_to(snapshot).as_posix()
        name = repo_id if relative == "." else f"{repo_id}:{relative}"
        return Located(folder, name, snapshot.name)

    def revision(self, located: Located) -> str:
        """The commit, or `sha256:...` of a local folder's content.

        Reads all of a local folder when it is asked for the first time or a file of it changed.

        Raises:
            WeightsMissingError: if a file cannot be read.
        """
        return located.commit or self._fingerprints.fingerprint(located.folder)

    def _local(self, path: Path, needed: str) -> Located:
        if not path.is_dir():
            raise WeightsMissingError(
                f"There is no folder {str(path)!r}.", "Set MISTRAL_MODEL and SAE_PATH to folders."
            )
        folder = _one_folder(path, needed, path.name)
        return Located(folder, path.resolve().name, None)

    def _snapshot(self, repo_id: str) -> Path:
        # imported here: the hub client takes half a second, and the demo never needs it
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        for cache_dir in (self._project_cache, None):
            try:
                return Path(snapshot_download(repo_id, cache_dir=cache_dir, local_files_only=True))
            except LocalEntryNotFoundError:
                continue
            except HFValidationError as error:
                raise WeightsMissingError(
                    f"{repo_id[:80]!r} is neither a folder nor a repository's name.",
                    "Write org/name, or the path of a folder.",
                ) from error
        raise WeightsMissingError(
            f"{repo_id!r} is not on this machine.",
            f"Fetch it with: hf download {repo_id} --cache-dir {self._project_cache}",
        )


def _one_folder(root: Path, needed: str, shown: str) -> Path:
    """The one folder at or below `root` that holds the file `needed`."""
    if (root / needed).is_file():
        return root
    found = sorted(path.parent for path in root.glob(f"**/{needed}")) if root.is_dir() else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise WeightsMissingError(
            f"{shown!r} has no {needed}.", "Check that it is whole, and of the kind that is needed."
        )
    choices = ", ".join(path.relative_to(root).as_posix() for path in found[:5])
    raise WeightsMissingError(
        f"{shown!r} holds {len(found)} folders with a {needed}: {choices}.",
        "Name one, as in org/name:folder, or give the folder's own path.",
    )
