"""What `scripts/detect.py` prints: tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from engine.api import (
    DetectorCard,
    DetectorReport,
    Estimate,
    Evaluation,
    LiveScore,
    SliceResult,
)

_UNAVAILABLE_SHOWN_CHARS = 100


def print_json(content: object) -> None:
    """JSON on standard output."""
    print(json.dumps(content, ensure_ascii=False, indent=2, default=str))


def evaluation_content(
    evaluation: Evaluation, fill: Mapping[str, object], elapsed_s: float
) -> dict[str, object]:
    """An evaluation as plain values: one entry a detector and slice."""
    outcomes: dict[str, dict[str, int]] = {}
    for item in evaluation.outcomes:
        outcomes.setdefault("on" if item.tools else "off", {})[item.outcome] = item.n
    return {
        "evaluation_id": evaluation.evaluation_id,
        "source": evaluation.source,
        "set": evaluation.set_name,
        "is_toy": evaluation.is_toy,
        "settings": dict(evaluation.settings),
        "split": asdict(evaluation.split),
        "fill": dict(fill),
        "outcomes": outcomes,
        "wrong": {
            "on" if item.tools else "off": {
                name: value for name, value in asdict(item).items() if name != "tools"
            }
            for item in evaluation.wrong
        },
        "audits": [
            {
                "name": audit.name,
                **_figure("auroc", audit.auroc),
                "is_red": audit.is_red,
                "explanation": audit.explanation,
            }
            for audit in evaluation.audits
        ],
        "is_confounded": evaluation.is_confounded,
        "detectors": [entry for item in evaluation.detectors for entry in _entries(item)],
        "comparisons": [asdict(item) for item in evaluation.comparisons],
        "features": None if evaluation.features is None else asdict(evaluation.features),
        "sentences": list(evaluation.sentences),
        "evaluated_s": round(evaluation.elapsed_s, 2),
        "elapsed_s": round(elapsed_s, 2),
    }


def print_evaluation(evaluation: Evaluation) -> None:
    """Outcomes, audits, detectors and sentences as tables."""
    console = Console(highlight=False)
    toy = " (toy)" if evaluation.is_toy else ""
    console.print(_outcome_table(evaluation, toy))
    console.print(_audit_table(evaluation, toy))
    console.print(_detector_table(evaluation, toy))
    absent = [item for item in evaluation.detectors if not item.is_available]
    for item in absent:
        console.print(f"{item.name}: {item.note[:_UNAVAILABLE_SHOWN_CHARS]}", markup=False)
    console.print()
    for sentence in evaluation.sentences:
        console.print(sentence, markup=False)
    console.print(
        f"Evaluation {evaluation.evaluation_id}, held-out answers {evaluation.split.split_hash}.",
        markup=False,
    )


def print_cards(cards: Sequence[DetectorCard]) -> None:
    """Detectors as a table."""
    table = Table(box=None, header_style="bold", title_justify="left")
    for column in ("id", "name", "kind", "set", "AUROC", "made up / right", "state"):
        table.add_column(column, overflow="fold")
    for card in cards:
        state = "retired" if card.retired_at else ("to use" if card.is_chosen else "")
        counts = f"{card.n_positive:,} / {card.n_negative:,}"
        table.add_row(
            card.detector_id,
            card.name,
            card.kind,
            card.set_name,
            _shown(card.auroc),
            counts,
            state,
        )
    Console(highlight=False).print(table)


def print_score(score: LiveScore) -> None:
    """What a detector says of one run."""
    console = Console(highlight=False)
    flag = "flagged" if score.is_flagged else "not flagged"
    console.print(
        f"{score.name}: score {score.score:.3f}, probability {score.probability:.2f}; {flag} "
        f"(threshold {score.threshold.score:.3f}, for {score.threshold.false_positive_rate:.0%} "
        "false alarms)",
        markup=False,
    )
    for item in score.features[:10]:
        console.print(
            f"  feature {item.feature} at position {item.position}: {item.weight:+.3g} × "
            f"{item.value:.3g} = {item.contribution:+.3f}",
            markup=False,
        )
    for caveat in score.caveats:
        console.print(caveat, markup=False)


def _entries(item: DetectorReport) -> list[dict[str, object]]:
    about: dict[str, object] = {
        "name": item.name,
        "kind": item.kind,
        "method": item.method,
        "site": item.site,
        "detector_id": item.detector_id,
        "is_chosen": item.is_chosen,
        "is_available": item.is_available,
        "note": item.note,
        "n_features": item.n_features,
        "train_auroc": item.train_auroc,
        "inner_auroc": item.inner_auroc,
    }
    if not item.slices:
        nothing = {"slice": None, "n_positive": None, "n_negative": None, "verdict": None}
        return [about | nothing | _figure("auroc", None)]
    return [about | _slice_entry(part) for part in item.slices]


def _slice_entry(part: SliceResult) -> dict[str, object]:
    figures = {
        "auroc": part.auroc,
        "auprc": part.auprc,
        "fpr_at_95_tpr": part.fpr_at_95_tpr,
        "recall_at_10_fpr": part.recall_at_10_fpr,
        "brier": part.brier,
        "ece": part.ece,
        "aurc": part.aurc,
    }
    entry: dict[str, object] = {
        "slice": part.name,
        "n_positive": part.n_positive,
        "n_negative": part.n_negative,
        "n_groups": part.n_groups,
        "prevalence": part.prevalence,
        "verdict": part.verdict,
    }
    for name, figure in figures.items():
        entry |= _figure(name, figure)
    return entry


def _figure(name: str, found: Estimate | None) -> dict[str, object]:
    return {
        name: found.value if found else None,
        f"{name}_low": found.low if found else None,
        f"{name}_high": found.high if found else None,
    }


def _outcome_table(evaluation: Evaluation, toy: str) -> Table:
    table = Table(
        title=f"Outcomes of {evaluation.set_name} on {evaluation.source}{toy}",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    for column in ("tools", "outcome", "answers"):
        table.add_column(column, justify="right" if column == "answers" else "left")
    for item in evaluation.outcomes:
        table.add_row("on" if item.tools else "off", item.outcome, f"{item.n:,}")
    for rate in evaluation.wrong:
        if rate.per_attempted is not None and rate.per_answer is not None:
            table.add_row(
                "on" if rate.tools else "off",
                "wrong of those attempted / of all",
                f"{rate.per_attempted:.1%} / {rate.per_answer:.1%}",
            )
    return table


def _audit_table(evaluation: Evaluation, toy: str) -> Table:
    table = Table(title=f"Leakage audits{toy}", title_justify="left", box=None, header_style="bold")
    for column in ("audit", "badge", "AUROC"):
        table.add_column(column)
    for audit in evaluation.audits:
        badge = "[red]red[/red]" if audit.is_red else "[green]green[/green]"
        table.add_row(audit.name, badge, _shown(audit.auroc))
    return table


def _detector_table(evaluation: Evaluation, toy: str) -> Table:
    names = [part.name for part in evaluation.detectors[0].slices] if evaluation.detectors else []
    table = Table(
        title=f"AUROC on held-out groups, with 95% intervals{toy}",
        title_justify="left",
        box=None,
        header_style="bold",
    )
    table.add_column("detector")
    table.add_column("kind")
    for name in names:
        size = next(part for part in evaluation.detectors[0].slices if part.name == name)
        table.add_column(f"{name}\n{size.n_positive:,} made up, {size.n_negative:,} right")
    for item in evaluation.detectors:
        if item.is_available:
            name = f"{item.name} *" if item.is_chosen else item.name
            table.add_row(name, item.kind, *(_shown(part.auroc) for part in item.slices))
    return table


def _shown(found: Estimate | None) -> str:
    return f"{found.value:.3f} ({found.low:.2f}–{found.high:.2f})" if found else "–"
