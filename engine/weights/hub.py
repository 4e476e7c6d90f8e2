"""The hub as a place to ask: which files a repository has, and what a small one says.

Invariant: every question ends within a bounded time, whatever the other side does, and within a
moment of being cancelled; while the hub is offline no connection is opened at all.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from engine.errors import ConnectionLostError, RepositoryError, TransferCancelled
from engine.settings import EngineSettings
from engine.weights.hub_errors import offline, stalled, translate

_T = TypeVar("_T")
_POLL_S = 0.1
_MAX_SMALL_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Hub:
    """Which hub is asked, as whom, and with how much patience.

    Attributes:
        endpoint: its address; None is huggingface.co.
        token: None is what `hf auth login` has stored, if anything.
        is_offline: if set, nothing is asked.
        timeout_s: seconds of silence after which a request is given up and made again.
        n_rounds: how often in a row a download starts without finishing a file before it is given
            up; also after four times `timeout_s` and half a minute in all.
        pause_s: seconds before the second round; doubled for each one after it.
    """

    endpoint: str | None = None
    token: str | None = field(default=None, repr=False)
    is_offline: bool = False
    timeout_s: float = 15.0
    n_rounds: int = 5
    pause_s: float = 1.0


def hub_of(settings: EngineSettings) -> Hub:
    """The hub that the settings name."""
    token = settings.hf_token
    return Hub(
        endpoint=settings.hf_endpoint,
        token=token.get_secret_value() if token else None,
        is_offline=settings.hf_hub_offline,
    )


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file as the hub describes it; `sha256` is None for small files, which git keeps."""

    size_bytes: int
    sha256: str | None
    git_oid: str | None

    @property
    def blob(self) -> str | None:
        """The name of its content in a cache."""
        return self.sha256 or self.git_oid


@dataclass(frozen=True, slots=True)
class Listing:
    """A repository at one commit (40 hexadecimal digits), with its files by path."""

    repo_id: str
    commit: str
    files: Mapping[str, HubFile]


def list_files(
    hub: Hub, repo_id: str, revision: str | None, is_cancelled: Callable[[], bool] | None = None
) -> Listing:
    """Asks the hub for the files of a repository.

    Args:
        revision: branch, tag or commit; None is the main branch.

    Raises:
        OfflineError, ConnectionLostError: if the hub is not asked, not reached or not answering.
        RepositoryError: if it has no such repository or revision, or does not show it.
        TransferCancelled: if `is_cancelled` says so first.
    """

    def ask() -> Listing:
        from huggingface_hub import HfApi

        info = HfApi(endpoint=hub.endpoint, token=hub.token).model_info(
            repo_id, revision=revision, timeout=hub.timeout_s, files_metadata=True
        )
        files = {
            sibling.rfilename: HubFile(
                sibling.size or 0, sibling.lfs.sha256 if sibling.lfs else None, sibling.blob_id
            )
            for sibling in info.siblings or ()
        }
        if not info.sha:
            raise RepositoryError(f"The hub names no commit of {repo_id!r}.", "Check HF_ENDPOINT.")
        return Listing(repo_id, info.sha, files)

    return _ask(ask, hub, repo_id, revision or "main", is_cancelled)


def read_small_file(
    hub: Hub, listing: Listing, path: str, is_cancelled: Callable[[], bool] | None = None
) -> bytes:
    """The content of a small file of a repository, such as an index; nothing is written to disk.

    Raises:
        OfflineError, ConnectionLostError, RepositoryError, TransferCancelled: as `list_files`.
    """

    def ask() -> bytes:
        from huggingface_hub import get_session, hf_hub_url
        from huggingface_hub.utils import (  # type: ignore[attr-defined] # exported lazily
            build_hf_headers,
            hf_raise_for_status,
        )

        size = listing.files[path].size_bytes
        if size > _MAX_SMALL_BYTES:
            raise RepositoryError(
                f"{path!r} of {listing.repo_id!r} has {size:,} bytes, far too many for what it is.",
                "Check that the repository is the right one.",
            )
        url = hf_hub_url(listing.repo_id, path, revision=listing.commit, endpoint=hub.endpoint)
        headers = build_hf_headers(token=hub.token)
        response = get_session().get(url, headers=headers, timeout=hub.timeout_s)
        hf_raise_for_status(response)
        return bytes(response.content)

    return _ask(ask, hub, listing.repo_id, listing.commit, is_cancelled)


def _ask(
    question: Callable[[], _T],
    hub: Hub,
    repo_id: str,
    revision: str,
    is_cancelled: Callable[[], bool] | None,
) -> _T:
    """The answer; asked once more if the connection was lost."""
    if hub.is_offline:
        raise offline(repo_id)
    for is_last in (False, True):
        try:
            return _bounded(question, hub, repo_id, is_cancelled)
        except TransferCancelled:
            raise
        except Exception as error:
            translated = translate(error, repo_id, revision, Path())
            if is_last or not isinstance(translated, ConnectionLostError):
                raise translated from error
        time.sleep(min(hub.pause_s, 1.0))
    raise AssertionError("the last round returns or raises")


def _bounded(
    question: Callable[[], _T],
    hub: Hub,
    repo_id: str,
    is_cancelled: Callable[[], bool] | None,
) -> _T:
    """Runs a question in a thread of its own, which is left alone if it does not come back.

    The client's own time-outs count silence: they do not end a look-up of the hub's name, nor an
    answer that arrives a byte at a time.
    """
    answers: list[_T] = []
    errors: list[BaseException] = []
    is_over = threading.Event()

    def run() -> None:
        try:
            answers.append(question())
        except BaseException as error:  # noqa: BLE001 - it is raised again by the one who waits
            errors.append(error)
        finally:
            is_over.set()

    threading.Thread(target=run, name="hub-question", daemon=True).start()
    deadline = time.monotonic() + 2 * hub.timeout_s
    while not is_over.wait(_POLL_S):
        if is_cancelled is not None and is_cancelled():
            raise TransferCancelled
        if time.monotonic() > deadline:
            raise stalled(repo_id, 2 * hub.timeout_s)
    if errors:
        raise errors[0]
    return answers[0]
