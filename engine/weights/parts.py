"""What a source is made of as files, and what is said about them: plain data, no file is touched.

Invariant: every value here is frozen and safe to keep and to show; sizes are in bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Component = Literal["model", "tokenizer", "sae"]
PartState = Literal["folder", "local", "linked", "global", "missing", "partial", "broken_link"]
"""Where a component lies: a folder of the user's own, the project's cache (a real copy there, or a
link into the global one), the global cache; or what is wrong with it."""
Check = Literal["verified", "unverified", "damaged"]


@dataclass(frozen=True, slots=True)
class ComponentStatus:
    """One component of a source on this machine.

    Attributes:
        location: as it was asked for: `org/name`, `org/name:folder/inside`, or a folder.
        check: `verified` if checksums were compared and no file changed since, `damaged` if the
            last comparison failed, else `unverified`.
        revision: commit, `sha256:...` of a local folder if it is known already, else None.
        size_bytes: of the component's files that are there.
        folder: where they are; None if they are not.
        link_target: where the project cache's link leads, also if nothing is there; else None.
        missing: files that should be there and are not, relative to the repository.
        problem, hint: one sentence each if it cannot be used as it stands, else empty.
    """

    component: Component
    location: str
    state: PartState
    check: Check
    revision: str | None
    size_bytes: int
    folder: Path | None
    link_target: Path | None = None
    missing: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""

    @property
    def is_usable(self) -> bool:
        """Whether the component can be loaded."""
        return not self.problem


@dataclass(frozen=True, slots=True)
class SourceWeights:
    """All components of a source, and the room where more would go.

    Attributes:
        cache_dir: the project's cache, which downloads go to.
        free_bytes: free on its disk.
    """

    source: str
    components: tuple[ComponentStatus, ...]
    cache_dir: Path
    free_bytes: int

    @property
    def is_complete(self) -> bool:
        """Whether nothing of the source is missing or broken."""
        return all(component.is_usable for component in self.components)


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file that a download brings, or that is there already.

    Attributes:
        path: relative to the repository.
        sha256: as the hub states it for large files, else None. git_oid: git's SHA-1 of the blob.
    """

    path: str
    size_bytes: int
    sha256: str | None
    git_oid: str | None
    is_present: bool


@dataclass(frozen=True, slots=True)
class DownloadPlan:
    """What downloading one repository would do.

    Attributes:
        repo_id: `org/name`. commit: 40 hexadecimal digits that the wanted revision stands for.
        cache_dir: cache that receives it. free_bytes: free on that disk now.
        orphan_bytes: left by interrupted downloads of this repository; cleared by the next one.
    """

    repo_id: str
    revision: str
    commit: str
    cache_dir: Path
    files: tuple[PlannedFile, ...]
    free_bytes: int
    orphan_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        """Size of all files."""
        return sum(file.size_bytes for file in self.files)

    @property
    def missing_bytes(self) -> int:
        """Size of the files that have to be fetched."""
        return sum(file.size_bytes for file in self.files if not file.is_present)

    @property
    def fits(self) -> bool:
        """Whether the disk has room for what has to be fetched."""
        return self.missing_bytes <= self.free_bytes + self.orphan_bytes


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How far a download or a verification is.

    Attributes:
        step: what is being done, such as `downloading` or `verifying`.
        bytes_per_s: over the last seconds; 0.0 before the first.
        left_s: seconds left at this rate; None where that cannot be said.
        current: file that is worked on, or empty.
    """

    step: str
    files_done: int
    files_total: int
    bytes_done: int
    bytes_total: int
    bytes_per_s: float
    left_s: float | None
    current: str = ""


@dataclass(frozen=True, slots=True)
class FileFault:
    """A file that is not as it should be; `reason` is one sentence."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a verification of one component's files found.

    Attributes:
        against: what the checksums were compared with; `nothing` if none are known: then the
            files were only read, and their checksums recorded for the next time.
        n_files, n_bytes: that were read.
        faults: empty if all is well.
    """

    component: Component
    location: str
    revision: str | None
    against: Literal["hub", "record", "nothing"]
    n_files: int
    n_bytes: int
    faults: tuple[FileFault, ...]

    @property
    def is_sound(self) -> bool:
        """Whether no fault was found."""
        return not self.faults

    @property
    def is_absent(self) -> bool:
        """Whether nothing of the component is on this machine."""
        return bool(self.faults) and self.n_files == 0 and self.revision is None
