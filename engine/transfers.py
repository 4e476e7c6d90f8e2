"""Plans, downloads and verifications that run beside the pages, each in a thread of its own.

Invariant: starting, asking and cancelling return at once; a source has one transfer at a time; a
failure is part of the view. Nothing here loads torch, and no thread outlives `close`.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from engine.definitions import SourceDefinition
from engine.errors import EngineError, RequestError, TransferCancelled
from engine.jobs import JobFailure
from engine.weights.caches import Caches
from engine.weights.checksums import ChecksumStore
from engine.weights.hub import Hub
from engine.weights.parts import DownloadPlan, TransferProgress, VerifyReport
from engine.weights.source_transfers import (
    download_source,
    plan_source,
    verify_source,
)

TransferKind = Literal["plan", "download", "verify"]
TransferState = Literal["running", "done", "failed", "cancelled"]
_KEPT = 50
_JOIN_S = 5.0
_DOING: dict[TransferKind, str] = {
    "plan": "looked up on the hub",
    "download": "downloaded",
    "verify": "verified",
}


@dataclass(frozen=True, slots=True)
class TransferView:
    """A transfer at one moment; plain data, safe to keep and to show.

    Attributes:
        transfer_id: 32 hexadecimal digits.
        plans: one a repository; empty until they are made, and for sources that need none.
        progress: of the whole transfer; None before the first byte and for plans.
        reports: of a verification, as they are made, one a component.
        failure: set in the state `failed`.
        started_at: in UTC.
    """

    transfer_id: str
    kind: TransferKind
    source: str
    state: TransferState
    plans: tuple[DownloadPlan, ...]
    progress: TransferProgress | None
    reports: tuple[VerifyReport, ...]
    failure: JobFailure | None
    asked_by: str
    started_at: datetime
    elapsed_s: float

    @property
    def is_active(self) -> bool:
        """Whether it may still change."""
        return self.state == "running"


@dataclass(slots=True)
class _Transfer:
    """A transfer; `view` is replaced as a whole, so that it is read without a lock."""

    view: TransferView
    started_s: float
    cancelled: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None


class Transfers:
    """All transfers of this process, the finished ones too, as long as they are not too many."""

    def __init__(
        self,
        caches: Caches,
        checksums: ChecksumStore,
        hub: Hub,
        find_definition: Callable[[str], SourceDefinition],
        resolve_location: Callable[[str], str] = str,
        max_workers: int = 4,
        finish: Callable[[SourceDefinition, Callable[[], bool]], None] = lambda *_: None,
    ) -> None:
        """Starts nothing.

        Args:
            find_definition: the source of a name; raises UnknownSourceError.
            resolve_location: turns an SAE's name in a registry into its `org/name:folder`, and
                returns any other location as it is.
            max_workers: files that a download fetches at the same time.
            finish: called in the transfer's thread once a source is downloaded, with the question
                whether that was cancelled; it makes of the files what is needed to load them.
        """
        self._caches = caches
        self._checksums = checksums
        self._hub = hub
        self._find_definition = find_definition
        self._resolve_location = resolve_location
        self._max_workers = max_workers
        self._finish = finish
        self._lock = threading.Lock()
        self._transfers: dict[str, _Transfer] = {}
        self._is_closed = False

    def start(self, kind: TransferKind, source: str, asked_by: str) -> TransferView:
        """Starts a transfer, or joins the one of the same kind and source that is under way.

        Raises:
            UnknownSourceError: if there is no such source.
            RequestError: if another kind of transfer of the source is under way.
        """
        definition = self._find_definition(source)
        with self._lock:
            if self._is_closed:
                raise RequestError("The server is shutting down.", "Try again in a moment.")
            for other in self._transfers.values():
                if other.view.source == definition.name and other.view.is_active:
                    if other.view.kind == kind:
                        return _aged(other)
                    raise RequestError(
                        f"{definition.name!r} is being {_DOING[other.view.kind]} already.",
                        "Wait until that is done, or cancel it.",
                    )
            view = TransferView(
                transfer_id=uuid.uuid4().hex,
                kind=kind,
                source=definition.name,
                state="running",
                plans=(),
                progress=None,
                reports=(),
                failure=None,
                asked_by=asked_by,
                started_at=datetime.now(UTC),
                elapsed_s=0.0,
            )
            transfer = _Transfer(view, time.monotonic())
            self._transfers[view.transfer_id] = transfer
            self._forget_oldest()
            transfer.thread = threading.Thread(
                target=self._run,
                args=(transfer, definition),
                name=f"transfer-{kind}",
                daemon=True,
            )
            transfer.thread.start()
        return view

    def transfer(self, transfer_id: str) -> TransferView:
        """A transfer as it is now.

        Raises:
            RequestError: if there is none of this id.
        """
        return _aged(self._get(transfer_id))

    def transfers(self) -> tuple[TransferView, ...]:
        """The newest first, at most 50 and all that are under way."""
        with self._lock:
            found = list(self._transfers.values())
        return tuple(_aged(transfer) for transfer in reversed(found))

    def cancel(self, transfer_id: str) -> TransferView:
        """Asks a transfer to stop, which it does within about a second; a finished one stays.

        Raises:
            RequestError: if there is none of this id.
        """
        transfer = self._get(transfer_id)
        transfer.cancelled.set()
        return _aged(transfer)

    def wait(self, transfer_id: str, timeout_s: float) -> TransferView:
        """Waits until a transfer is over, or for this long.

        Raises:
            RequestError: if there is none of this id.
        """
        transfer = self._get(transfer_id)
        if transfer.thread is not None:
            transfer.thread.join(timeout_s)
        return _aged(transfer)

    def close(self) -> None:
        """Cancels all transfers and waits a few seconds for them; none can be started after."""
        with self._lock:
            self._is_closed = True
            running = list(self._transfers.values())
        for transfer in running:
            transfer.cancelled.set()
        deadline = time.monotonic() + _JOIN_S
        for transfer in running:
            if transfer.thread is not None:
                transfer.thread.join(max(0.0, deadline - time.monotonic()))

    def _get(self, transfer_id: str) -> _Transfer:
        with self._lock:
            transfer = self._transfers.get(transfer_id)
        if transfer is None:
            raise RequestError(
                f"There is no transfer {transfer_id[:40]!r} on this server.",
                "Transfers end with the server; what is here is said on the models page.",
            )
        return transfer

    def _forget_oldest(self) -> None:
        over = [key for key, transfer in self._transfers.items() if not transfer.view.is_active]
        for key in over[: max(0, len(self._transfers) - _KEPT)]:
            del self._transfers[key]

    def _run(self, transfer: _Transfer, definition: SourceDefinition) -> None:
        def on_progress(progress: TransferProgress) -> None:
            transfer.view = replace(transfer.view, progress=progress)

        def on_plans(plans: Sequence[DownloadPlan]) -> None:
            transfer.view = replace(transfer.view, plans=tuple(plans))

        def on_reports(reports: Sequence[VerifyReport]) -> None:
            transfer.view = replace(transfer.view, reports=tuple(reports))

        is_cancelled = transfer.cancelled.is_set
        resolved = self._resolve_location
        state: TransferState = "done"
        failure: JobFailure | None = None
        try:
            if transfer.view.kind == "verify":
                verify_source(
                    definition,
                    self._caches,
                    self._checksums,
                    self._hub,
                    on_progress,
                    is_cancelled,
                    on_reports,
                )
            else:
                plans = plan_source(definition, self._caches, self._hub, is_cancelled, resolved)
                on_plans(plans)
                if transfer.view.kind == "download":
                    download_source(
                        plans,
                        self._hub,
                        self._checksums,
                        on_progress,
                        is_cancelled,
                        self._max_workers,
                    )
                    self._finish(definition, is_cancelled)
        except TransferCancelled:
            state = "cancelled"
        except EngineError as error:
            state = "failed"
            failure = JobFailure(
                type(error).__name__, error.message, error.hint, isinstance(error, RequestError)
            )
        except Exception as error:  # noqa: BLE001 - a thread that dies silently would run for ever
            state = "failed"
            failure = JobFailure(
                type(error).__name__,
                f"The transfer failed unexpectedly: {str(error)[:160] or type(error).__name__}.",
                "Try again; if it fails again, say what was shown here.",
            )
        elapsed_s = time.monotonic() - transfer.started_s
        transfer.view = replace(transfer.view, state=state, failure=failure, elapsed_s=elapsed_s)


def _aged(transfer: _Transfer) -> TransferView:
    view = transfer.view
    if not view.is_active:
        return view
    return replace(view, elapsed_s=time.monotonic() - transfer.started_s)
