"""What a transfer of a whole source is: its repositories one after the other, as one piece of work.

Invariant: nothing is fetched before every repository has its plan and all of them together fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from engine.definitions import SourceDefinition
from engine.errors import RequestError
from engine.weights.caches import Caches
from engine.weights.checksums import ChecksumStore
from engine.weights.download import download
from engine.weights.hub import Hub
from engine.weights.hub_errors import no_space
from engine.weights.inventory import list_components
from engine.weights.locate import parse_location
from engine.weights.parts import (
    Component,
    ComponentStatus,
    DownloadPlan,
    FileFault,
    TransferProgress,
    VerifyReport,
)
from engine.weights.plan import plan_download
from engine.weights.rate import OnProgress
from engine.weights.verify import verify_component


def plan_source(
    definition: SourceDefinition,
    caches: Caches,
    hub: Hub,
    is_cancelled: Callable[[], bool] | None = None,
    resolve_location: Callable[[str], str] = str,
    revision: str | None = None,
) -> tuple[DownloadPlan, ...]:
    """The plans of a source's repositories: the model with its tokenizer, and the SAE.

    Folders of this machine need none; a source of folders alone has no plans. Offline, nor does
    what can be used as it is.

    Args:
        resolve_location: turns an SAE's name in a registry into its `org/name:folder`.
        revision: of the model, instead of the definition's.

    Raises:
        RequestError, UnsupportedError, DownloadError, TransferCancelled: as `plan_download`.
    """
    plans: list[DownloadPlan] = []
    for component, location, wanted in _wanted(definition, revision):
        if hub.is_offline and _is_usable(definition, component, caches):
            continue
        resolved = resolve_location(location)
        if parse_location(resolved).path is not None:
            continue
        plan = plan_download(resolved, wanted, caches, hub, component, is_cancelled)
        same = [
            index
            for index, other in enumerate(plans)
            if (other.repo_id, other.commit, other.cache_dir)
            == (plan.repo_id, plan.commit, plan.cache_dir)
        ]
        if same:
            # Model and SAE of one repository are one download.
            other = plans[same[0]]
            files = {file.path: file for file in (*other.files, *plan.files)}
            plans[same[0]] = replace(other, files=tuple(files[path] for path in sorted(files)))
        else:
            plans.append(plan)
    return tuple(plans)


def download_source(
    plans: Sequence[DownloadPlan],
    hub: Hub,
    checksums: ChecksumStore,
    on_progress: OnProgress,
    is_cancelled: Callable[[], bool],
    max_workers: int = 4,
) -> tuple[Path, ...]:
    """Downloads all plans; the progress that is told is that of all of them.

    Returns:
        The snapshots' folders.

    Raises:
        NoSpaceError: if they do not fit together.
        DownloadError, RepositoryError, TransferCancelled: as `download`.
    """
    check_room(plans)
    folders: list[Path] = []
    for index, plan in enumerate(plans):
        told = _within(plans, index, on_progress)
        folders.append(download(plan, hub, checksums, told, is_cancelled, max_workers))
    return tuple(folders)


def check_room(plans: Sequence[DownloadPlan]) -> None:
    """Refuses plans that do not fit on their disk together.

    Raises:
        NoSpaceError: if they do not.
    """
    for cache_dir in {plan.cache_dir for plan in plans}:
        there = [plan for plan in plans if plan.cache_dir == cache_dir]
        needed = sum(plan.missing_bytes for plan in there)
        room = min(plan.free_bytes for plan in there) + sum(plan.orphan_bytes for plan in there)
        if needed > room:
            raise no_space(cache_dir, needed, room)


def verify_source(
    definition: SourceDefinition,
    caches: Caches,
    checksums: ChecksumStore,
    hub: Hub,
    on_progress: OnProgress,
    is_cancelled: Callable[[], bool],
    on_reports: Callable[[Sequence[VerifyReport]], None],
) -> tuple[VerifyReport, ...]:
    """Verifies every component of a source; one that is not here is a fault of its report.

    Args:
        on_reports: told of all reports so far, after each component.

    Raises:
        TransferCancelled: if `is_cancelled` says so.
    """
    reports: list[VerifyReport] = []
    for status in list_components(definition, caches, checksums):
        if status.folder is None:
            reports.append(_absent(status))
        else:
            reports.append(
                verify_component(
                    status, checksums, hub, on_progress, is_cancelled, definition.overrides
                )
            )
        on_reports(tuple(reports))
    return tuple(reports)


def _wanted(
    definition: SourceDefinition, revision: str | None
) -> list[tuple[Component, str, str | None]]:
    wanted: list[tuple[Component, str, str | None]] = []
    if definition.model is not None:
        wanted.append(("model", definition.model, revision or definition.model_revision))
    if definition.sae is not None:
        wanted.append(("sae", definition.sae, definition.sae_revision))
    if not wanted:
        raise RequestError(
            f"The source {definition.name!r} names neither a model nor an SAE.",
            "Set MISTRAL_MODEL and SAE_PATH.",
        )
    return wanted


def _is_usable(definition: SourceDefinition, component: Component, caches: Caches) -> bool:
    statuses = list_components(definition, caches, ChecksumStore(caches.records))
    parts = ("model", "tokenizer") if component == "model" else (component,)
    return all(status.is_usable for status in statuses if status.component in parts)


def _absent(status: ComponentStatus) -> VerifyReport:
    reason = f"{status.problem} {status.hint}".strip() or "It is not on this machine."
    return VerifyReport(
        component=status.component,
        location=status.location,
        revision=None,
        against="nothing",
        n_files=0,
        n_bytes=0,
        faults=(FileFault(status.location or "model", reason),),
    )


def _within(plans: Sequence[DownloadPlan], index: int, on_progress: OnProgress) -> OnProgress:
    """Tells the progress of one plan as a part of that of all plans."""
    files_before = sum(len(plan.files) for plan in plans[:index])
    bytes_before = sum(plan.total_bytes for plan in plans[:index])
    files_total = sum(len(plan.files) for plan in plans)
    bytes_total = sum(plan.total_bytes for plan in plans)

    def tell(progress: TransferProgress) -> None:
        bytes_done = bytes_before + progress.bytes_done
        left = bytes_total - bytes_done
        rate = progress.bytes_per_s
        on_progress(
            replace(
                progress,
                files_done=files_before + progress.files_done,
                files_total=files_total,
                bytes_done=bytes_done,
                bytes_total=bytes_total,
                left_s=left / rate if rate > 0 else progress.left_s,
            )
        )

    return tell
