"""A stand-in for what the engine says and does about files: sources in every state.

No file is touched; transfers stay as they are until a test moves them on.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from engine.api import (
    DeviceMemory,
    DownloadPlan,
    EngineStatus,
    FileFault,
    InvalidSourceError,
    MemoryEstimate,
    SaeRelease,
    SourceDefinition,
    SourceInfo,
    SourceWeights,
    TransferKind,
    TransferView,
    VerifyReport,
)
from engine.errors import DeviceError, RequestError, UnknownSourceError
from tests.dashboard.sample_sources import (
    BIG,
    COMMIT,
    DEMO,
    GB,
    HALF,
    PLAIN,
    PLAN,
    missing,
    partial,
    whole,
)


class FakeWeights:
    """Sources, files and transfers in dictionaries."""

    def __init__(self) -> None:
        self.infos = {info.name: info for info in (DEMO, BIG, HALF, PLAIN)}
        self.files = {
            DEMO.name: whole(DEMO),
            BIG.name: missing(BIG),
            HALF.name: partial(HALF),
            PLAIN.name: whole(PLAIN),
        }
        self.available_bytes = 24 * GB
        self.started: dict[str, TransferView] = {}
        self.load_error: DeviceError | None = None
        self.current = EngineStatus("idle", None, None, 0, None)
        self.file_problem: str | None = None

    def status(self) -> EngineStatus:
        """What the test has set."""
        return self.current

    def sources_problem(self) -> str | None:
        """What the test has set."""
        return self.file_problem

    def sources(self) -> tuple[SourceInfo, ...]:
        """All of them, the demo first."""
        return tuple(self.infos.values())

    def sae_releases(self, model: str = "") -> tuple[SaeRelease, ...]:
        """One."""
        found = SaeRelease("gemma-scope", "google/gemma-2-2b", "google/gemma-scope", ("layer_12",))
        return (found,) if model in found.model else ()

    def weights(self, source: str) -> SourceWeights:
        """What the test has set."""
        self._known(source)
        return self.files[source]

    def estimate(self, source: str) -> MemoryEstimate:
        """As large as the download, against what the test says is free."""
        info = self._known(source)
        size = info.size_bytes or 0
        estimate = MemoryEstimate(
            model_bytes=size * 9 // 10,
            sae_bytes=size // 10 if info.has_sae else 0,
            working_bytes=size // 20,
            dtype=info.dtype or "float32",
            device="cuda:0",
            total_bytes=24 * GB,
            available_bytes=self.available_bytes,
        )
        if estimate.fits is False:
            return replace(estimate, advice=("The source 'phi-3-mini' would fit.",))
        return estimate

    def load(self, source: str) -> EngineStatus:
        """Loads at once, or refuses as the test has set."""
        self._known(source)
        if self.load_error is not None:
            raise self.load_error
        memory = DeviceMemory("cuda:0", 24 * GB, 8 * GB, 14 * GB)
        self.current = EngineStatus("idle", source, "cuda:0", 0, None, memory, 12.3)
        return self.current

    def unload(self) -> EngineStatus:
        """At once."""
        self.current = EngineStatus("idle", None, None, 0, None)
        return self.current

    def start_transfer(self, kind: TransferKind, source: str, asked_by: str) -> TransferView:
        """Starts one that does not move, or joins the one that runs."""
        self._known(source)
        for view in self.started.values():
            if view.source == source and view.is_active:
                return view
        view = TransferView(
            transfer_id=f"t{len(self.started)}",
            kind=kind,
            source=source,
            state="running",
            plans=(),
            progress=None,
            reports=(),
            failure=None,
            asked_by=asked_by,
            started_at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
            elapsed_s=1.5,
        )
        self.started[view.transfer_id] = view
        return view

    def transfer(self, transfer_id: str) -> TransferView:
        """The transfer now."""
        if transfer_id not in self.started:
            raise RequestError(f"There is no transfer {transfer_id!r}.")
        return self.started[transfer_id]

    def transfers(self) -> tuple[TransferView, ...]:
        """The newest first."""
        return tuple(reversed(self.started.values()))

    def cancel_transfer(self, transfer_id: str) -> TransferView:
        """Ends it at once."""
        view = self.transfer(transfer_id)
        if view.is_active:
            self.started[transfer_id] = replace(view, state="cancelled")
        return self.started[transfer_id]

    def finish_plan(self, transfer_id: str, *plans: DownloadPlan) -> None:
        """Ends a plan with what it found."""
        self.started[transfer_id] = replace(
            self.transfer(transfer_id), state="done", plans=plans or (PLAN,)
        )

    def finish_download(self, transfer_id: str) -> None:
        """Ends a download: all files are there and verified."""
        view = self.transfer(transfer_id)
        info = self.infos[view.source]
        self.files[info.name] = whole(info)
        self.infos[info.name] = replace(info, problem=None, model_revision=COMMIT)
        self.started[transfer_id] = replace(view, state="done", plans=(PLAN,))

    def finish_verify(self, transfer_id: str, *faults: FileFault) -> None:
        """Ends a verification of a source's model."""
        view = self.transfer(transfer_id)
        status = self.files[view.source].components[0]
        report = VerifyReport("model", status.location, COMMIT, "hub", 3, status.size_bytes, faults)
        self.started[transfer_id] = replace(view, state="done", reports=(report,))

    def add_source(self, definition: SourceDefinition) -> SourceInfo:
        """Keeps it, unless its name is taken or has a capital letter."""
        if definition.name != definition.name.lower() or not definition.name:
            raise InvalidSourceError(
                definition.name, "name", "its name must have lower-case letters", "Choose another."
            )
        if definition.sae == "nothing":
            raise InvalidSourceError(definition.name, "sae", "sae: neither org/name nor a path")
        info = replace(
            PLAIN,
            name=definition.name,
            title=definition.title,
            model_id=definition.model or "",
            origin="user",
        )
        self.infos[info.name] = info
        self.files[info.name] = missing(info)
        return info

    def remove_source(self, name: str) -> None:
        """Forgets it."""
        self._known(name)
        del self.infos[name]
        del self.files[name]

    def _known(self, source: str) -> SourceInfo:
        if source not in self.infos:
            raise UnknownSourceError(source, tuple(self.infos))
        return self.infos[source]
