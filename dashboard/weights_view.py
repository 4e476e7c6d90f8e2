"""What is said about weights: words for states, sizes, rates and times. Pure.

Invariant: nothing here fetches; every text is made of our own words and of numbers, except where a
docstring says that it quotes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from engine.api import (
    ComponentStatus,
    SourceInfo,
    SourceWeights,
    TransferProgress,
    TransferView,
)

Tone = Literal["good", "busy", "warn", "bad", "quiet"]
"""How a state is coloured: usable, in work, something is missing, something is wrong, neither."""

_BYTE_UNITS = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_PLACES: dict[str, str] = {
    "folder": "own folder",
    "local": "project cache",
    "linked": "linked from the global cache",
    "global": "global cache",
    "missing": "missing",
    "partial": "partial",
    "broken_link": "broken link",
}
_NAMES: dict[str, str] = {"model": "model", "tokenizer": "tokenizer", "sae": "SAE"}
_DOING: dict[str, str] = {"plan": "planning", "download": "downloading", "verify": "verifying"}


@dataclass(frozen=True, slots=True)
class Words:
    """A state in words, and how it is coloured."""

    text: str
    tone: Tone


def format_bytes(n_bytes: float) -> str:
    """Bytes in decimal units with three digits, such as `47.1 GB`."""
    for size, unit in _BYTE_UNITS:
        if n_bytes >= size:
            value = n_bytes / size
            return f"{value:.0f} {unit}" if value >= 99.95 else f"{value:.3g} {unit}"
    return f"{n_bytes:.0f} B"


def format_left(seconds: float) -> str:
    """Seconds that are left, in one or two units; coarse, as such an estimate is."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def short_revision(revision: str | None) -> str:
    """The first digits of a commit or of a content hash; quotes what a repository says."""
    if revision is None:
        return "–"
    digits = revision.removeprefix("sha256:")
    return f"{'sha256 ' if digits != revision else ''}{digits[:8]}"


def component_name(component: str) -> str:
    """What a component is called in a sentence."""
    return _NAMES.get(component, component)


def component_words(status: ComponentStatus) -> Words:
    """Where a component lies, or what is wrong with it."""
    if status.state == "partial":
        n_missing = len(status.missing)
        files = f": {n_missing:,} file{'s' if n_missing != 1 else ''} missing" if n_missing else ""
        return Words(f"partial{files}", "warn")
    if status.state == "missing":
        return Words("missing", "warn")
    if status.state == "broken_link":
        return Words("broken link", "bad")
    if status.check == "damaged":
        return Words("damaged", "bad")
    if not status.is_usable:
        return Words("cannot be used", "bad")
    return Words(_PLACES[status.state], "good")


def check_words(status: ComponentStatus) -> Words:
    """Whether checksums were compared."""
    if status.state in {"missing", "broken_link"}:
        return Words("–", "quiet")
    if status.check == "verified":
        return Words("verified", "good")
    if status.check == "damaged":
        return Words("damaged", "bad")
    return Words("not verified", "quiet")


def source_words(
    info: SourceInfo, weights: SourceWeights | None, transfer: TransferView | None
) -> Words:
    """A source in one or two words: what is done with it, else what is wrong, else ready.

    Args:
        transfer: that runs for it, if one does.
    """
    if transfer is not None:
        return Words(_DOING[transfer.kind], "busy")
    if weights is not None:
        for component in weights.components:
            words = component_words(component)
            if words.tone != "good":
                is_whole = all(item.state == "missing" for item in weights.components)
                name = "" if is_whole else f"{component_name(component.component)} "
                return Words(f"{name}{words.text.partition(':')[0]}", words.tone)
    if info.problem is not None:
        return Words("cannot be used", "bad")
    if weights is not None and all(item.check == "verified" for item in weights.components):
        return Words("ready, verified", "good")
    return Words("ready", "good")


def transfer_words(transfer: TransferView) -> str:
    """What a transfer does now, and how far it is."""
    progress = transfer.progress
    doing = _DOING[transfer.kind]
    if progress is not None and progress.step == "verifying":
        doing = _DOING["verify"]
    if progress is None or progress.bytes_total <= 0 or transfer.kind == "plan":
        return doing
    return f"{doing}, {100 * fraction_done(progress):.0f}%"


def fraction_done(progress: TransferProgress) -> float:
    """How far a transfer is, 0 to 1: by bytes, else by files."""
    done, total = progress.bytes_done, progress.bytes_total
    if total <= 0:
        done, total = progress.files_done, progress.files_total
    return min(1.0, max(0.0, done / total)) if total > 0 else 0.0


def progress_words(progress: TransferProgress) -> str:
    """Bytes, rate, time left and files, in one line."""
    parts = [f"{format_bytes(progress.bytes_done)} of {format_bytes(progress.bytes_total)}"]
    if progress.bytes_per_s > 0:
        parts.append(f"{format_bytes(progress.bytes_per_s)}/s")
    if progress.left_s is not None:
        parts.append(f"{format_left(progress.left_s)} left")
    if progress.files_total:
        parts.append(f"{progress.files_done:,} of {progress.files_total:,} files")
    return " · ".join(parts)


def sae_words(info: SourceInfo) -> str:
    """What the SAE of a source is: features, layer; quotes nothing."""
    if not info.has_sae:
        return "no SAE"
    features = "features unknown" if info.d_sae is None else f"{info.d_sae:,} features"
    return features if info.layer is None else f"{features} at layer {info.layer}"


def size_words(info: SourceInfo, weights: SourceWeights | None) -> str:
    """The size of a source: of what is here if it is whole, else of the download."""
    if weights is not None and weights.is_complete:
        return format_bytes(sum(item.size_bytes for item in weights.components))
    return "–" if info.size_bytes is None else format_bytes(info.size_bytes)


def source_facts(info: SourceInfo) -> tuple[tuple[str, str], ...]:
    """Names and values for the head of a source; quotes what repositories and people call it."""
    layers = "" if info.n_layers is None else f"{info.n_layers} layers"
    width = "" if info.d_in is None else f"{info.d_in:,} wide"
    hook = f" at {info.hook_name}" if info.hook_name else ""
    features = "" if info.d_sae is None else f"{info.d_sae:,}{hook}"
    return (
        ("model", info.model_id),
        ("shape", ", ".join(part for part in (layers, width) if part)),
        ("precision", info.dtype or ""),
        ("SAE", info.sae_id if info.has_sae else "none: it is asked and read without features"),
        ("features", features),
        ("licence", info.license),
    )


def is_worth_showing(transfer: TransferView, weights: SourceWeights | None) -> bool:
    """Whether how a transfer ended still says something: not once all is here by another way."""
    is_unfinished = transfer.state != "done" and transfer.kind != "verify"
    return not (is_unfinished and weights is not None and weights.is_complete)
