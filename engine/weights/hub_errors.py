"""What the hub's client, its HTTP library and the disk raise, said in our own words.

Invariant: every foreign exception of a transfer becomes an EngineError here, and only here. The
HTTP library is the client's own dependency, so its classes are told by name and never imported.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import (
    HF_COMMAND,
    WEIGHTS_COMMAND,
    ConnectionLostError,
    DownloadError,
    EngineError,
    GatedError,
    NoSpaceError,
    OfflineError,
    RepositoryError,
)

if TYPE_CHECKING:
    from huggingface_hub.errors import HfHubHTTPError

WEB = "https://huggingface.co"
_FULL = {errno.ENOSPC, errno.EDQUOT}
_FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
_NO_FOLDER = {errno.ENOTDIR, errno.EEXIST, errno.ELOOP, errno.EISDIR}
_SIGN_IN = f"sign in with: {HF_COMMAND} auth login"
_LOGIN = f"Set HF_TOKEN to a token that may read it, or {_SIGN_IN}"
_AGAIN = "Finished files are kept; the next call fetches only the rest."


def translate(error: BaseException, repo_id: str, revision: str, cache_dir: Path) -> EngineError:
    """The error to raise for one that a transfer has met.

    Args:
        repo_id, revision: that were asked for; they are named in the message.
        cache_dir: where files were to be written.
    """
    from huggingface_hub.errors import (
        EntryNotFoundError,
        FileMetadataError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    if isinstance(error, EngineError):
        return error
    if isinstance(error, LocalEntryNotFoundError) and error.__cause__ is not None:
        return translate(error.__cause__, repo_id, revision, cache_dir)
    if isinstance(error, OfflineModeIsEnabled):
        return offline(repo_id)
    # A gated repository is also "not found" to the client: it has to be asked for first.
    if isinstance(error, GatedRepoError):
        whose = "with this token" if _has_token(error) else "and no token was sent"
        return GatedError(
            f"{repo_id!r} is gated: its licence has not been accepted {whose}.",
            f"Accept it at {WEB}/{repo_id}, then set HF_TOKEN or {_SIGN_IN}",
        )
    if isinstance(error, RepositoryNotFoundError):
        return RepositoryError(
            f"The hub has no repository {repo_id!r}, or does not show it to you.",
            f"Check the name at {WEB}/{repo_id}; if it is private or gated, set HF_TOKEN or"
            f" {_SIGN_IN}",
        )
    if isinstance(error, RevisionNotFoundError):
        return RepositoryError(
            f"{repo_id!r} has no revision {revision!r}.",
            f"Its branches and tags are listed at {WEB}/{repo_id}/tree/main; main is the default.",
        )
    if isinstance(error, EntryNotFoundError):
        return RepositoryError(
            f"A file of {repo_id!r} is no longer on the hub.",
            "Run the command again: the plan is made anew.",
        )
    if isinstance(error, HFValidationError):
        return RepositoryError(
            f"{repo_id[:80]!r} is no name of a repository.", "Write it as org/name."
        )
    if isinstance(error, HfHubHTTPError):
        return _status(error.response.status_code, repo_id, _has_token(error))
    if isinstance(error, FileMetadataError):
        return DownloadError(
            f"What answered for {repo_id!r} is no Hugging Face hub.",
            "Check HF_ENDPOINT, and whether a proxy or a sign-in page is in between.",
        )
    return _connection(error, repo_id) or _disk(error, repo_id, cache_dir)


def offline(repo_id: str) -> OfflineError:
    """The error for what would need the hub while it must not be asked."""
    return OfflineError(
        f"{repo_id!r} cannot be fetched: HF_HUB_OFFLINE is set.",
        "Unset HF_HUB_OFFLINE, or bring the files here in a folder and run:"
        f" {WEIGHTS_COMMAND} import FOLDER {repo_id}",
    )


def stalled(repo_id: str, timeout_s: float) -> ConnectionLostError:
    """The error for a hub that stays silent."""
    return ConnectionLostError(
        f"The hub has sent nothing of {repo_id!r} for {timeout_s:g} s.",
        f"Check the network and try again. {_AGAIN}",
    )


def ended(repo_id: str, exit_status: int) -> ConnectionLostError:
    """The error for a downloading process that ended without a word; negative: by a signal."""
    how = f"signal {-exit_status}" if exit_status < 0 else f"status {exit_status}"
    return ConnectionLostError(
        f"The process that was downloading {repo_id!r} has ended by {how}.",
        f"It may have run out of memory. {_AGAIN}",
    )


def no_space(
    cache_dir: Path, needed_bytes: int | None = None, free_bytes: int | None = None
) -> NoSpaceError:
    """The error for a disk that is full, or would be."""
    hint = f"Free some room there, or set MODEL_CACHE_DIR to a folder on another disk. {_AGAIN}"
    if needed_bytes is None or free_bytes is None:
        return NoSpaceError(f"The disk of {str(cache_dir)!r} is full.", hint)
    return NoSpaceError(
        f"The download needs {needed_bytes / 1e9:,.2f} GB, and the disk of {str(cache_dir)!r}"
        f" has {free_bytes / 1e9:,.2f} GB free.",
        hint,
        needed_bytes,
        free_bytes,
    )


def _has_token(error: HfHubHTTPError) -> bool:
    return "authorization" in error.response.request.headers


def _status(status: int, repo_id: str, has_token: bool) -> EngineError:
    if status == 401 and not has_token:
        return RepositoryError(f"The hub wants a token for {repo_id!r}.", _LOGIN)
    if status == 401:
        return RepositoryError(
            f"The hub does not accept the token that was sent for {repo_id!r}.", _LOGIN
        )
    if status == 403:
        return RepositoryError(f"This token may not read {repo_id!r}.", _LOGIN)
    if status == 429:
        return ConnectionLostError(
            f"The hub answers {repo_id!r} with 429, too many requests.",
            f"Wait a few minutes, and {_SIGN_IN}. {_AGAIN}",
        )
    if status >= 500 or status == 408:
        return ConnectionLostError(
            f"The hub answers {repo_id!r} with an error of its own, {status}.",
            f"Try again in a few minutes. {_AGAIN}",
        )
    return DownloadError(
        f"The hub refuses {repo_id!r} with status {status}.", "Check HF_ENDPOINT and the name."
    )


def _connection(error: BaseException, repo_id: str) -> EngineError | None:
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if {"ConnectError", "ConnectTimeout", "ProxyError", "UnsupportedProtocol"} & kinds:
        return OfflineError(
            f"The hub cannot be reached for {repo_id!r}: {_reason(error)}.",
            "Check the network, HF_ENDPOINT and the proxy settings. What is already on this"
            " machine works without it.",
        )
    if "TimeoutException" in kinds:
        return ConnectionLostError(
            f"The hub stopped answering while it sent {repo_id!r}.",
            f"Check the network and try again. {_AGAIN}",
        )
    is_short = isinstance(error, OSError) and "Consistency check failed" in str(error)
    if {"TransportError", "ConnectionError", "StreamError"} & kinds or is_short:
        return ConnectionLostError(
            f"The connection to the hub broke while {repo_id!r} was fetched.",
            f"Check the network and try again. {_AGAIN}",
        )
    return None


def _reason(error: BaseException) -> str:
    """The innermost cause, which is the one that the system gave."""
    while error.__cause__ is not None or error.__context__ is not None:
        inner = error.__cause__ or error.__context__
        assert inner is not None
        error = inner
    text = str(getattr(error, "strerror", None) or error).strip().rstrip(".")
    return text[:120] or type(error).__name__


def _disk(error: BaseException, repo_id: str, cache_dir: Path) -> EngineError:
    number = error.errno if isinstance(error, OSError) else None
    shown = repr(str(cache_dir))
    if number in _FULL:
        return no_space(cache_dir)
    if number == errno.EFBIG:
        return NoSpaceError(
            f"The disk of {shown}, or a limit of this user, allows no file that large.",
            "Set MODEL_CACHE_DIR to a folder on another disk.",
        )
    if number in _FORBIDDEN:
        return DownloadError(
            f"This user may not write in the cache folder {shown}.",
            "Change its permissions, or set MODEL_CACHE_DIR to a folder that can be written.",
        )
    if number in _NO_FOLDER:
        return DownloadError(
            f"The cache folder {shown} cannot be used: a file or a broken link is in its place.",
            "Remove it or move it away, or set MODEL_CACHE_DIR to a folder.",
        )
    text = str(getattr(error, "strerror", None) or error).strip().split("\n")[0].rstrip(".")
    return DownloadError(
        f"{repo_id!r} could not be fetched: {text[:160] or type(error).__name__}.",
        f"Try again. {_AGAIN}",
    )
