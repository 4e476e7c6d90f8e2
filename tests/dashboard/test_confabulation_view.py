"""What the page about made-up answers says and draws of given figures; all of it pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from dashboard.components.outcome_list import evidence_words
from dashboard.components.scan_panel import null_words
from dashboard.components.tool_steps import pretty
from dashboard.confabulation_parts.outcomes_part import effect_words
from dashboard.confabulation_view import (
    answer_filter,
    cohort_filters,
    default_curves,
    fill_seconds,
    gate_words,
    list_gaps,
    picked_curves,
    slice_names,
)
from dashboard.detector_charts import curve_chart, forest_chart, forest_px, key_chart
from dashboard.links import ViewState
from dashboard.outcome_charts import tools_chart
from dashboard.outcome_words import MEANING_COLOURS, MEANING_WORDS, PERSON_BUTTONS
from dashboard.shading import detector_shading
from engine.api import (
    PERSON_OUTCOMES,
    UNSEEN,
    WHOLE,
    Audit,
    Curves,
    DetectorReport,
    Estimate,
    Evaluation,
    FeatureScan,
    LiveScore,
    Point,
    ReliabilityBin,
    SliceResult,
    SplitReport,
    Threshold,
    TokenContribution,
    ToolsCell,
    ToolsEffect,
)
from engine.detection.outcomes import MEANING_OF
from store.answer_rows import AnswerFilter
from store.filters import parse_filter

CURVES = Curves(
    roc=(Point(0, 0), Point(0.1, 0.8), Point(1, 1)),
    pr=(Point(0, 1), Point(1, 0.5)),
    reliability=(ReliabilityBin(0.2, 0.1, 20), ReliabilityBin(0.8, 0.9, 20)),
    risk_coverage=(Point(0.1, 0), Point(1, 0.5)),
)


def _report(name: str, method: str, auroc: float | None, **changes: Any) -> DetectorReport:
    """A detector with figures on all answers, and none on the unseen template."""
    found = None if auroc is None else Estimate(auroc, auroc - 0.05, auroc + 0.05)
    verdict = "no number" if found is None else "measured"
    curves = None if found is None else CURVES
    slices = (
        SliceResult(WHOLE, 60, 70, 40, 0.46, verdict, auroc=found, curves=curves),  # type: ignore[arg-type]
        SliceResult(UNSEEN, 4, 9, 6, 0.3, "no number"),
    )
    base = DetectorReport(
        detector_id=f"{abs(hash(name)) % 16**8:08x}" + "0" * 12,
        name=name,
        kind="baseline",
        method=method,
        site="",
        note="",
        n_features=0,
        slices=slices,
        train_auroc=auroc,
    )
    return replace(base, **changes)


OURS = _report("SAE", "sae_logistic", 0.9, kind="candidate", is_chosen=True)
REPORTS = (
    OURS,
    _report("features", "few_features", 0.85, kind="candidate"),
    _report("value logprob", "value_logprob", 0.7),
    _report("entropy", "first_entropy", 0.8),
    _report("dense", "dense_logistic", 0.95),
    _report("words", "question_words", None),
)
ABSENT = _report("P(True)", "p_true", None, slices=(), is_available=False, note="It cannot.")
EVALUATION = Evaluation(
    evaluation_id="e" * 20,
    source="demo",
    source_id="demo-1",
    set_name="demo",
    is_toy=True,
    settings=(("tools", "off"),),
    split=SplitReport("abc", 100, 50, 130, 90, ()),
    outcomes=(),
    wrong=(),
    audits=(Audit("answer length", Estimate(0.7, 0.6, 0.8), True, "It tells."),),
    detectors=(*REPORTS, ABSENT),
    comparisons=(),
    features=None,
    sentences=("One.",),
    elapsed_s=1.0,
)


def _drawn(chart: dict[str, Any], layer: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows that a layer of a chart draws."""
    rows: list[dict[str, Any]] = chart["datasets"][layer["data"]["name"]]
    return rows


def _effect(false_off: int, false_on: int, difference: Estimate) -> ToolsEffect:
    share = Estimate(0.5, 0.4, 0.6)
    cells = [
        ToolsCell(tools, meaning, n if meaning == "made_up" else 100 - n, 100, share)
        for tools, n in ((False, false_off), (True, false_on))
        for meaning in ("made_up", "honest")
    ]
    return ToolsEffect(True, 100, 40, tuple(cells), difference)


@pytest.mark.parametrize(
    ("state", "wanted"),
    [
        (ViewState(), AnswerFilter()),
        (ViewState(tools="on"), AnswerFilter(tools=True)),
        (ViewState(tools="off", find="ann"), AnswerFilter(tools=False, find="ann")),
        (ViewState(outcome="made_up"), AnswerFilter(meaning="made_up")),
        (ViewState(outcome="contested"), AnswerFilter(is_contested=True)),
        (ViewState(outcome="unjudged"), AnswerFilter(outcome="unjudged")),
        (ViewState(outcome="CONFABULATION"), AnswerFilter(outcome="CONFABULATION")),
    ],
)
def test_the_link_says_which_answers(state: ViewState, wanted: AnswerFilter) -> None:
    assert answer_filter(state) == wanted


@pytest.mark.parametrize("name", ["demo", "a set", 'with "quotes"'])
def test_the_filters_for_the_comparison_can_be_read(name: str) -> None:
    for text in cohort_filters(name, "off"):
        tree = parse_filter(text, "runs")
        assert next(tree.terms("set")).value == name
        assert next(tree.terms("tools")).value is False
        assert list(tree.terms("verdict"))
    assert "tools" not in cohort_filters(name, "both")[0]


def test_every_outcome_that_people_give_has_a_button_a_key_and_a_meaning() -> None:
    assert {item.outcome for item in PERSON_BUTTONS} == set(PERSON_OUTCOMES)
    assert len({item.key for item in PERSON_BUTTONS}) == len(PERSON_BUTTONS)
    assert all(item.outcome in MEANING_OF for item in PERSON_BUTTONS)


def test_outcomes_have_words_and_colours_of_their_own() -> None:
    assert set(MEANING_WORDS) == set(MEANING_COLOURS) == {*MEANING_OF.values(), "unknown"}
    assert len(set(MEANING_COLOURS.values())) == len(MEANING_COLOURS)


def test_curves_are_those_of_the_link_else_of_ours_and_the_best_baselines() -> None:
    ids = {item.name: item.detector_id for item in REPORTS}
    assert default_curves(EVALUATION, WHOLE) == (ids["SAE"], ids["entropy"], ids["dense"])
    assert default_curves(EVALUATION, UNSEEN) == ()
    dense = ids["dense"]
    assert dense
    assert picked_curves(EVALUATION, f"{dense[:8]},zzzzzzzz", WHOLE) == (dense,)
    assert picked_curves(EVALUATION, "0", WHOLE) == ()


def test_the_forest_holds_what_was_measured_with_its_interval_the_best_first() -> None:
    chart = forest_chart(EVALUATION.detectors, WHOLE, " (toy)").to_dict()
    rows = _drawn(chart, chart["layer"][1])
    assert [row["name"] for row in rows] == [
        "dense",
        "★ SAE",
        "features",
        "entropy",
        "value logprob",
    ]
    assert (rows[0]["low"], rows[0]["high"]) == pytest.approx((0.9, 1.0))
    assert "(toy)" in str(chart)
    assert forest_px(EVALUATION.detectors, WHOLE) > forest_px(EVALUATION.detectors, UNSEEN)
    nothing = forest_chart(EVALUATION.detectors, UNSEEN, "").to_dict()
    assert _drawn(nothing, nothing["layer"][1]) == []


@pytest.mark.parametrize("curve", ["roc", "pr", "reliability", "risk"])
def test_a_curve_has_the_points_of_each_and_what_a_guess_reaches(curve: Any) -> None:
    chosen = [(item.name, item.slices[0]) for item in REPORTS[:2]]
    chart = curve_chart(curve, chosen).to_dict()
    rows = _drawn(chart, chart["layer"][-1])
    assert {row["name"] for row in rows} == {"SAE", "features"}
    assert all(0 <= row["x"] <= 1 and 0 <= row["y"] <= 1 for row in rows)
    reference = [point["y"] for point in _drawn(chart, chart["layer"][0])]
    assert reference == ([0, 1] if curve in ("roc", "reliability") else [0.46, 0.46])
    key = key_chart([name for name, _ in chosen]).to_dict()
    assert key["encoding"]["color"]["scale"]["domain"] == ["SAE", "features"]


def test_a_curve_without_figures_is_empty_and_does_not_fail() -> None:
    assert curve_chart("roc", [("x", SliceResult(WHOLE, 1, 1, 2, 0.5, "no number"))]).to_dict()
    assert curve_chart("pr", []).to_dict()


def test_tools_are_drawn_in_the_colours_of_outcomes() -> None:
    chart = tools_chart(_effect(40, 2, Estimate(-0.38, -0.5, -0.3)), " (toy)").to_dict()
    rows = _drawn(chart, chart)
    assert {(row["tools"], row["meaning"], row["n"]) for row in rows} >= {
        ("tools off", "made up", 40),
        ("tools on", "right", 98),
    }
    assert chart["encoding"]["color"]["scale"]["range"] == list(MEANING_COLOURS.values())


@pytest.mark.parametrize(
    ("difference", "said"),
    [
        (Estimate(-0.38, -0.5, -0.3), "38.0 points [30.0, 50.0] fewer"),
        (Estimate(0.1, 0.05, 0.2), "10.0 points [5.0, 20.0] more"),
        (Estimate(-0.1, -0.2, 0.05), "may be none at all"),
    ],
)
def test_what_tools_change_is_said_with_its_interval(difference: Estimate, said: str) -> None:
    assert said in effect_words(_effect(40, 2, difference), " (toy)")


def test_a_gate_says_what_a_slice_may_carry() -> None:
    whole, unseen = OURS.slices
    assert "from 200 of each kind on" in gate_words(whole)
    assert "no figure" in gate_words(unseen)
    assert slice_names(EVALUATION) == (WHOLE, UNSEEN)


def test_gaps_name_what_is_missing_and_end_where_nothing_is() -> None:
    gaps = {gap.title: gap.needed for gap in list_gaps(EVALUATION, None, (), "No key.", True)}
    assert gaps["What tools change"]
    assert gaps["A second opinion by a hosted judge"] == "No key."
    assert gaps["P(True)"] == "It cannot."
    assert "Which detector is better on all held-out answers" in gaps
    assert any("rather than what goes with it" in title for title in gaps)
    assert any("toy" in title for title in gaps)
    sound = replace(
        EVALUATION,
        audits=(),
        detectors=(
            replace(
                OURS,
                slices=tuple(replace(item, verdict="comparable") for item in OURS.slices),
            ),
        ),
    )
    effect = _effect(40, 2, Estimate(-0.38, -0.5, -0.3))
    assert list_gaps(sound, effect, (), None, False) == ()


def test_no_evaluation_is_a_gap_of_its_own() -> None:
    gaps = list_gaps(None, None, (), None, False)
    assert "Any detector" in {gap.title for gap in gaps}


def test_a_scan_never_stands_without_its_null() -> None:
    scan = FeatureScan("prompt", 100, 3, "Exploratory.", 6.0, 3.5, 0.002, 40, 30.0, 60.0, ())
    words = null_words(scan, " (toy)")
    assert "exceeds 3.5" in words
    assert "30 to 60" in words
    assert "(toy)" in words


def test_time_is_told_where_a_pace_is_known() -> None:
    assert fill_seconds(100, 0.5, is_toy=False) == 50
    assert fill_seconds(100, None, is_toy=False) is None
    assert fill_seconds(100, None, is_toy=True) == 10


@pytest.mark.parametrize(
    ("evidence", "said"),
    [
        ('{"value": "Oslo", "expected": "Rome"}', "value: Oslo · expected: Rome"),
        (
            '{"claimed": ["a", "b"], "state": "ok", "set_id": "x"}',
            'state: ok · claimed: ["a", "b"]',
        ),
        ("not JSON", "not JSON"),
        ("[1]", "[1]"),
        ("{}", ""),
    ],
)
def test_evidence_is_one_line_of_what_it_rests_on(evidence: str, said: str) -> None:
    assert evidence_words(evidence) == said


def test_a_long_result_of_a_tool_is_cut() -> None:
    assert pretty('"Patras"') == "Patras"
    assert pretty("{broken") == "{broken"
    assert len(pretty("x" * 100_000)) < 5_000


def test_contributions_colour_tokens_on_both_sides_of_zero() -> None:
    score = LiveScore(
        detector_id="d" * 20,
        name="ours",
        run_key="r",
        score=1.0,
        probability=0.7,
        is_calibrated=True,
        threshold=Threshold(0.1, 0.5, 0.6, 40),
        is_flagged=True,
        tokens=(TokenContribution(3, 2.0), TokenContribution(5, -1.0), TokenContribution(6, 0.0)),
        features=(),
        caveats=(),
    )
    shading = detector_shading(score)
    assert (shading.shade(3), shading.shade(5), shading.shade(6), shading.shade(9)) == (
        1.0,
        -0.5,
        None,
        None,
    )
    nothing = detector_shading(replace(score, tokens=()))
    assert nothing.shade(3) is None
    assert "no single token" in nothing.title
