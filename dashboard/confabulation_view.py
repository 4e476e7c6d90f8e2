"""What the page about made-up answers says of what is stored: sentences, filters, gaps. Pure.

Invariant: nothing is fetched; a figure of a toy is called one, and nothing is said of a figure that
its gate does not let one say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dashboard.links import ViewState
from dashboard.outcome_words import MEANING_WORDS, METHOD_WORDS
from engine.api import (
    MIN_ITEMS,
    UNSEEN,
    WHOLE,
    Agreement,
    DetectorReport,
    Estimate,
    Evaluation,
    SliceResult,
    ToolsEffect,
)
from store.answer_rows import AnswerFilter

TABS: Mapping[str, str] = {
    "answers": "1 Answers",
    "outcomes": "2 Outcomes",
    "tools": "3 Tools on and off",
    "features": "4 Features",
    "detector": "5 Detector",
    "audits": "6 Audits",
    "gaps": "7 Not shown yet",
}
CONTESTED = "contested"
UNJUDGED = "unjudged"
PAGE_ROWS = 25
TOY_PACE_S = 0.1
"""Seconds an answer of the demo takes, where none is stored to tell."""
COMPARABLE = 200
"""Answers of each class from which on a detector may be called better than a baseline."""
LEAST = 10


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that is not shown, and what it would take."""

    title: str
    needed: str


def answer_filter(state: ViewState) -> AnswerFilter:
    """Which answers the link asks for."""
    meanings = {name: name for name in MEANING_WORDS}
    meaning = meanings.get(state.outcome) if state.outcome else None  # type: ignore[call-overload]
    is_contested = True if state.outcome == CONTESTED else None
    outcome = None if meaning or is_contested else state.outcome
    tools = None if state.tools is None else state.tools == "on"
    return AnswerFilter(tools, meaning, outcome, is_contested, state.find or "")


def cohort_filters(set_name: str, tools: str) -> tuple[str, str]:
    """Filters of false and of right answers to a set, for the page that compares runs."""
    asked = {"off": " tools:no", "on": " tools:yes"}.get(tools, "")
    name = set_name.replace('"', '""')
    base = f'set:"{name}"{asked}'
    return f"{base} (verdict:made_up OR verdict:wrong)", f"{base} verdict:honest"


def estimate_words(found: Estimate | None, digits: int = 2) -> str:
    """A figure with its interval."""
    if found is None:
        return "–"
    return f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"


def fill_seconds(n_answers: int, pace_s: float | None, is_toy: bool) -> float | None:
    """How long so many answers take, as far as that is known."""
    pace = pace_s if pace_s is not None else (TOY_PACE_S if is_toy else None)
    return None if pace is None else max(1.0, n_answers * pace)


def find_slice(report: DetectorReport, name: str) -> SliceResult | None:
    """A detector's figures on a slice, if it has them."""
    return next((item for item in report.slices if item.name == name), None)


def slice_names(evaluation: Evaluation) -> tuple[str, ...]:
    """Slices that the detectors were measured on, the whole first."""
    first = next((item for item in evaluation.detectors if item.slices), None)
    return tuple(item.name for item in first.slices) if first else (WHOLE,)


def slice_words(name: str) -> str:
    """A slice as people call it."""
    return "all held-out answers" if name == WHOLE else name


def default_curves(evaluation: Evaluation, slice_name: str) -> tuple[str, ...]:
    """Ids of the detector to use, of the best probability and of the best dense probe."""
    chosen = [item for item in evaluation.detectors if item.is_chosen]
    baselines = [item for item in evaluation.detectors if item.kind == "baseline"]
    dense = [item for item in baselines if item.method in ("dense_logistic", "mean_difference")]
    likely = [item for item in baselines if "logprob" in item.method or "entropy" in item.method]
    best = [_best(group, slice_name) for group in (chosen, likely, dense)]
    return tuple(item.detector_id for item in best if item is not None and item.detector_id)


def picked_curves(evaluation: Evaluation, curves: str | None, slice_name: str) -> tuple[str, ...]:
    """Ids of the detectors whose curves the link asks for."""
    if curves is None:
        return default_curves(evaluation, slice_name)
    starts = [part for part in curves.split(",") if len(part) >= 4]
    found = [item.detector_id for item in evaluation.detectors if item.detector_id]
    return tuple(key for key in found if any(key.startswith(start) for start in starts))


def gate_words(found: SliceResult) -> str:
    """What the numbers of a slice allow one to say."""
    counts = f"{found.n_positive:,} made up or wrong, {found.n_negative:,} right"
    words = {
        "no number": f"fewer than {LEAST} of a kind: no figure is shown",
        "exploratory": "exploratory: fewer than 50 of a kind",
        "measured": f"measured; from {COMPARABLE} of each kind on may one be called better",
        "comparable": "enough to call one better than another",
    }
    return f"{counts}, {found.n_groups:,} groups: {words[found.verdict]}"


def list_gaps(
    evaluation: Evaluation | None,
    effect: ToolsEffect | None,
    agreements: Sequence[Agreement],
    judge_needs: str | None,
    is_toy: bool,
) -> tuple[Gap, ...]:
    """What the page cannot say yet, and what it would take."""
    gaps: list[Gap] = []
    if effect is None or effect.difference is None:
        gaps.append(
            Gap("What tools change", "Ask the same questions with tools off and with tools on.")
        )
    gaps += [
        Gap(
            f"Agreement of {METHOD_WORDS[item.left]} and {METHOD_WORDS[item.right]}",
            f"Both have judged {item.n:,} answers; kappa is shown from {MIN_ITEMS} on.",
        )
        for item in agreements
        if not item.is_enough and "person" in (item.left, item.right)
    ]
    if judge_needs is not None:
        gaps.append(Gap("A second opinion by a hosted judge", judge_needs))
    if evaluation is None:
        gaps.append(Gap("Any detector", "Train and evaluate on answers that are judged."))
    else:
        gaps += _of_evaluation(evaluation)
    if is_toy:
        gaps.append(
            Gap(
                "Anything beyond one toy",
                "A claim about toys needs several seeds of the demo; a claim about models, models.",
            )
        )
    return tuple(gaps)


def _of_evaluation(evaluation: Evaluation) -> list[Gap]:
    gaps = []
    for name in slice_names(evaluation):
        found = next((find_slice(d, name) for d in evaluation.detectors if d.slices), None)
        if found is not None and found.verdict != "comparable":
            gaps.append(
                Gap(
                    f"Which detector is better on {slice_words(name)}",
                    f"{gate_words(found)}. A larger set, such as demo-large, has more.",
                )
            )
    if UNSEEN not in slice_names(evaluation):
        gaps.append(
            Gap("Questions worded as never before", "The set needs several templates a topic.")
        )
    if evaluation.is_confounded:
        gaps.append(
            Gap(
                "That a detector finds what is made up, rather than what goes with it",
                "An audit is red: ask questions of which both kinds are alike in that.",
            )
        )
    gaps += [
        Gap(item.name, item.note or "It could not be computed.")
        for item in evaluation.detectors
        if not item.is_available
    ]
    if evaluation.features is not None and evaluation.features.gate_note:
        gaps.append(Gap("Which features differ, for certain", evaluation.features.gate_note))
    return gaps


def _best(reports: Sequence[DetectorReport], slice_name: str) -> DetectorReport | None:
    def auroc(report: DetectorReport) -> float:
        found = find_slice(report, slice_name)
        return found.auroc.value if found is not None and found.auroc is not None else -1.0

    measured = [item for item in reports if auroc(item) >= 0]
    return max(measured, key=auroc, default=None)
