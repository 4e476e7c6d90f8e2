"""A loopback hub with one model, and what downloads of it are tested with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from engine.errors import EngineError
from engine.weights.caches import Caches, repo_folder
from engine.weights.checksums import ChecksumStore
from engine.weights.download import download
from engine.weights.hub import Hub
from engine.weights.parts import DownloadPlan, TransferProgress
from engine.weights.plan import plan_download
from tests.hub.loopback import LoopbackHub
from tests.hub.repositories import shard_name

REPO = "org/tiny"
SHARDS = [shard_name(index, 3) for index in range(3)]
"""Of the model that the fixture `bench` serves."""


@dataclass
class Bench:
    """What a download works on; `told` is every progress that was reported."""

    hub: LoopbackHub
    root: Path
    timeout_s: float = 1.0
    n_rounds: int = 2
    told: list[TransferProgress] = field(default_factory=list)

    @property
    def caches(self) -> Caches:
        """The project's own cache in a folder with a space, and an empty shared one."""
        return Caches(self.root / "the cache é", self.root / "shared")

    @property
    def checksums(self) -> ChecksumStore:
        return ChecksumStore(self.caches.records)

    @property
    def client(self) -> Hub:
        return Hub(
            endpoint=self.hub.endpoint,
            timeout_s=self.timeout_s,
            n_rounds=self.n_rounds,
            pause_s=0.01,
        )

    @property
    def repository(self) -> Path:
        """The repository's folder in the project's cache."""
        return repo_folder(self.caches.project, REPO)

    def plan(self, revision: str | None = None, location: str = REPO) -> DownloadPlan:
        return plan_download(location, revision, self.caches, self.client, "model")

    def download(self, max_workers: int = 4) -> Path:
        """Plans and downloads all of it."""
        return download(
            self.plan(), self.client, self.checksums, self.told.append, lambda: False, max_workers
        )

    def parts(self) -> list[str]:
        """What is left of files that were not finished."""
        return sorted(path.name for path in self.repository.rglob("*.incomplete"))


def refused(act: Callable[[], object], kind: type[EngineError], words: str) -> EngineError:
    """The error, which is of this kind, says this in one sentence, and helps."""
    with pytest.raises(kind, match=words) as caught:
        act()
    error = caught.value
    assert type(error) is kind
    assert error.message.endswith(".")
    assert "\n" not in error.message
    assert len(error.message) < 300
    assert error.hint
    return error
