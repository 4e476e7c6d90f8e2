"""A Hugging Face hub on this machine: an HTTP server that the real client talks to.

Invariant: it serves files exactly as they lie in folders, unless a fault was asked for; every
request and every byte of a file that is sent is counted. It binds 127.0.0.1 only.

    with serve({"org/tiny": folder}) as hub:
        hub.slow(200_000)                                    # bytes a second and connection
        hub.cut("body", "*.safetensors", after_bytes=1000)   # once
        ...                                                  # the client uses hub.endpoint
        assert hub.count("model.safetensors").finished == 1
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Literal
from unittest.mock import patch

from huggingface_hub import close_session, constants

from tests.hub.answers import Answers

Stage = Literal["metadata", "headers", "body"]
"""Which request: the repository's listing, a file's HEAD, or a file's GET."""
Kind = Literal["cut", "reset", "stall", "corrupt", "truncate", "status"]
_LARGE = (".safetensors", ".bin", ".npz", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with requests of one stage for files whose path matches.

    Attributes:
        pattern: of the path inside the repository; for `metadata` of the repository's name.
        after_bytes: of the body, before it happens; None: before the first header.
        times: how often; None for always.
        status: answered by the kind `status`.
    """

    kind: Kind
    stage: Stage
    pattern: str = "*"
    after_bytes: int | None = None
    times: int | None = 1
    status: int = 500


@dataclass(frozen=True, slots=True)
class Count:
    """What was asked and sent of one file: HEADs, GETs, GETs that sent the last byte, bytes."""

    heads: int = 0
    gets: int = 0
    finished: int = 0
    n_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ServedFile:
    """A file of a repository; `sha256` where the hub would keep it as a large file."""

    path: Path
    size: int
    git_oid: str
    sha256: str | None


class LoopbackHub:
    """The hub's content, its faults and its counts; `endpoint` is where it listens."""

    def __init__(self) -> None:
        self.endpoint = ""
        self.closing = threading.Event()
        self.gated: set[str] = set()
        self.tokens: dict[str, str] = {}
        self.bytes_per_s: float | None = None
        self._lock = threading.Lock()
        self._faults: list[Fault] = []
        self._counts: dict[str, Count] = {}
        self._revisions: dict[str, dict[str, str]] = {}
        self._commits: dict[tuple[str, str], dict[str, ServedFile]] = {}

    # ------------------------------------------------------------------------------ content

    def publish(self, repo_id: str, folder: Path, revision: str = "main") -> str:
        """Serves a folder as a repository, as it is now; returns its commit (40 hex digits)."""
        files = {
            path.relative_to(folder).as_posix(): _served(path)
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        }
        listing = "".join(f"{name} {file.git_oid}\n" for name, file in files.items())
        commit = hashlib.sha1(f"{repo_id}\n{listing}".encode()).hexdigest()
        with self._lock:
            self._revisions.setdefault(repo_id, {})[revision] = commit
            self._commits[repo_id, commit] = files
        return commit

    def has(self, repo_id: str) -> bool:
        """Whether a repository is served."""
        return repo_id in self._revisions

    def find_commit(self, repo_id: str, revision: str) -> str | None:
        """The commit of a branch, tag or commit."""
        if (repo_id, revision) in self._commits:
            return revision
        return self._revisions[repo_id].get(revision)

    def files(self, repo_id: str, commit: str) -> dict[str, ServedFile]:
        """The files of a commit by path."""
        return self._commits[repo_id, commit]

    def require_token(self, repo_id: str, token: str) -> None:
        """Answers 401 to whoever does not send this token."""
        self.tokens[repo_id] = token

    def gate(self, repo_id: str) -> None:
        """Answers 403 for the files of the repository, as if its licence was not accepted."""
        self.gated.add(repo_id)

    # ------------------------------------------------------------------------------- faults

    def cut(
        self,
        stage: Stage,
        pattern: str = "*",
        after_bytes: int | None = None,
        times: int | None = 1,
    ) -> None:
        """Closes the connection."""
        self._add(Fault("cut", stage, pattern, after_bytes, times))

    def reset(self, pattern: str, after_bytes: int, times: int | None = 1) -> None:
        """Closes the connection in the middle of a body as a failing network does."""
        self._add(Fault("reset", "body", pattern, after_bytes, times))

    def stall(
        self,
        stage: Stage,
        pattern: str = "*",
        after_bytes: int | None = None,
        times: int | None = 1,
    ) -> None:
        """Says nothing more, and keeps the connection open."""
        self._add(Fault("stall", stage, pattern, after_bytes, times))

    def corrupt(self, pattern: str, times: int | None = None) -> None:
        """Sends other bytes of the right length."""
        self._add(Fault("corrupt", "body", pattern, None, times))

    def truncate(self, pattern: str, to_bytes: int, times: int | None = None) -> None:
        """Sends the beginning of a file as if it were all of it."""
        self._add(Fault("truncate", "body", pattern, to_bytes, times))

    def fail(self, status: int, stage: Stage, pattern: str = "*", times: int | None = None) -> None:
        """Answers with a status and no content."""
        self._add(Fault("status", stage, pattern, None, times, status))

    def slow(self, bytes_per_s: float | None) -> None:
        """Limits every connection's body; None: as fast as it goes."""
        self.bytes_per_s = bytes_per_s

    def mend(self) -> None:
        """Forgets all faults and limits."""
        with self._lock:
            self._faults.clear()
        self.slow(None)

    def take_fault(self, stage: Stage, name: str) -> Fault | None:
        """The fault that this request meets; counts it as met."""
        with self._lock:
            for index, fault in enumerate(self._faults):
                if fault.stage == stage and fnmatchcase(name, fault.pattern):
                    if fault.times == 1:
                        del self._faults[index]
                    elif fault.times is not None:
                        self._faults[index] = replace(fault, times=fault.times - 1)
                    return fault
        return None

    def _add(self, fault: Fault) -> None:
        with self._lock:
            self._faults.append(fault)

    # ------------------------------------------------------------------------------- counts

    def count(self, path: str) -> Count:
        """What was asked and sent of a file, over all repositories."""
        with self._lock:
            return self._counts.get(path, Count())

    @property
    def n_requests(self) -> int:
        """HEADs and GETs of files so far."""
        with self._lock:
            return sum(count.heads + count.gets for count in self._counts.values())

    def add_count(
        self, path: str, heads: int = 0, gets: int = 0, finished: int = 0, n_bytes: int = 0
    ) -> None:
        """Called by the server alone."""
        with self._lock:
            old = self._counts.get(path, Count())
            self._counts[path] = Count(
                old.heads + heads, old.gets + gets, old.finished + finished, old.n_bytes + n_bytes
            )


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news."""


@contextmanager
def serve(repositories: dict[str, Path]) -> Iterator[LoopbackHub]:
    """Serves folders as repositories until the block ends.

    Meanwhile the client in this process is online, whatever HF_HUB_OFFLINE said when it was
    imported.
    """
    hub = LoopbackHub()
    for repo_id, folder in repositories.items():
        hub.publish(repo_id, folder)
    handler = type("Handler", (Answers,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
    )
    thread.start()
    try:
        with patch.object(constants, "HF_HUB_OFFLINE", False):
            yield hub
    finally:
        close_session()
        hub.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _served(path: Path) -> ServedFile:
    content = path.read_bytes()
    header = f"blob {len(content)}\0".encode()
    is_large = path.suffix in _LARGE or len(content) > 1_000_000
    return ServedFile(
        path=path,
        size=len(content),
        git_oid=hashlib.sha1(header + content).hexdigest(),
        sha256=hashlib.sha256(content).hexdigest() if is_large else None,
    )
