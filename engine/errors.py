"""Errors of the engine: one root, small classes, each with a hint for the person who sees it.

Invariant: `str(error)` is one sentence that says what happened, `error.hint` one that helps. Errors
of torch, transformers and the hub are translated to these once, where they arise.
"""

from __future__ import annotations

WEIGHTS_COMMAND = ".venv/bin/python scripts/weights.py"
HF_COMMAND = ".venv/bin/hf"
"""How hints write these commands: as they work in the project's folder, nothing being activated."""


class EngineError(Exception):
    """Something went wrong in the engine or in what was asked of it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class RequestError(EngineError):
    """The request cannot be run as it is: the fault is in what was asked, not in the machine."""


class UnknownSourceError(RequestError):
    """The catalog has no source of this name."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(
            f"There is no source named {name[:80]!r}.", f"Known sources: {', '.join(known)}."
        )
        self.name = name
        self.known = known


class PromptTooLongError(RequestError):
    """The prompt does not fit the model's context window."""

    def __init__(self, n_tokens: int, n_context: int) -> None:
        super().__init__(
            f"The prompt has {n_tokens:,} tokens; this model reads at most {n_context:,}.",
            "Shorten the prompt or start a new chat.",
        )
        self.n_tokens = n_tokens
        self.n_context = n_context


class WeightsMissingError(EngineError):
    """Files of a model or SAE are not there, or not whole."""


class SourceMismatchError(EngineError):
    """Model and SAE do not fit each other: another width, or a hook that does not exist."""


class UnsupportedError(EngineError):
    """A model, SAE or option that this engine does not know how to run."""


class DeviceError(EngineError):
    """The device is absent or out of memory."""


class CaptureError(EngineError):
    """The captured rows do not match the tokens: nothing of the run is stored."""


class JobNotFoundError(RequestError):
    """No job of this server has this id."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"There is no job {job_id[:40]!r} on this server.",
            "Jobs end with the server; the run may be stored, look under recent runs.",
        )
        self.job_id = job_id


class TaskNotFoundError(RequestError):
    """No task of this server has this id."""

    def __init__(self, task_id: str) -> None:
        super().__init__(
            f"There is no task {task_id[:40]!r} on this server.",
            "Tasks end with the server; what they finished is stored. Start it again to resume.",
        )
        self.task_id = task_id


class GenerationCancelled(Exception):  # noqa: N818 - a signal, not a fault
    """The caller asked to stop; nothing of the run is kept."""


class RepositoryError(RequestError):
    """The hub has no such repository or revision, or does not show it to this token."""


class GatedError(RepositoryError):
    """The hub gives the files only to those who have accepted their licence."""


class DownloadError(EngineError):
    """Files could not be fetched from the hub, or are not what it says they are."""


class OfflineError(DownloadError):
    """The hub is not asked, or cannot be reached at all."""


class ConnectionLostError(DownloadError):
    """The hub stopped in the middle, or could not answer now: trying again may help."""


class NoSpaceError(DownloadError):
    """The disk is full, or would be before all files are there.

    Attributes:
        needed_bytes, free_bytes: what has to be fetched, and the room for it; None if not known.
    """

    def __init__(
        self,
        message: str,
        hint: str = "",
        needed_bytes: int | None = None,
        free_bytes: int | None = None,
    ) -> None:
        super().__init__(message, hint)
        self.needed_bytes = needed_bytes
        self.free_bytes = free_bytes


class TransferCancelled(Exception):  # noqa: N818 - a signal, not a fault
    """The caller asked to stop a download or a verification; finished files are kept."""
