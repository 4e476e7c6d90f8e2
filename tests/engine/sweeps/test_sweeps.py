"""Sweeps on the real demo: measured, memoized, resumed, and opened as ordinary runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engine.api import Arm, Engine, SweepReport, SweepSpec, SweepSpecError, TaskView
from engine.concepts.pairs import Pair, PairSet
from store.specs import Intervention
from tests.engine.conftest import Bench


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


def _done(engine: Engine, task: TaskView) -> TaskView:
    view = engine.tasks.wait(task.task_id, 240)
    assert view.failure is None, view.failure
    assert view.state == "done"
    return view


def _report(bench: Bench, spec: SweepSpec) -> SweepReport:
    lab = bench.engine.steering
    view = _done(bench.engine, lab.start_sweep(spec, "me"))
    return lab.sweep(str(view.result["sweep_id"]))


REFUSAL = SweepSpec(
    "refusal",
    "demo",
    arms=(Arm("refusal", concept="refusal", strengths=(0.2, 0.6), layers=(1, 2)),),
    instruction="Answer in one sentence.",
    n_random=2,
    max_new_tokens=16,
)


def test_a_concept_is_swept_chosen_on_one_half_and_reported_on_the_other(bench: Bench) -> None:
    report = _report(bench, REFUSAL)
    assert report.is_toy
    assert report.best is not None
    cells = report.cells
    chosen_from = [c for c in cells if c.measured.split == "choose" and c.place.kind == "add"]
    assert len(chosen_from) == 4
    coherent = [c for c in chosen_from if json.loads(c.measured.results)["is_coherent"]]
    best = max(coherent, key=lambda cell: cell.measured.success.value or 0.0)
    assert (report.best["strength"], report.best["layer"]) == (
        best.place.strength,
        best.place.layer,
    )
    # on the other half: every strength and layer, and the controls
    reported = [c for c in cells if c.measured.split == "report"]
    assert sum(c.place.role == "candidate" for c in reported) == 4
    assert report.best["success"]["value"] > 0
    assert report.controls["random directions"]["n"] == 2
    assert report.controls["random directions"]["largest_success"] < report.best["success"]["value"]
    assert report.controls["the opposite"]["success"]["value"] < report.best["success"]["value"]
    assert report.controls["instruction"]["success"]["value"] < report.best["success"]["value"]
    [nothing] = [c for c in reported if c.place.kind == "none"]
    assert nothing.measured.success.value == pytest.approx(0.0, abs=1e-5)
    assert nothing.measured.side_effect.value == pytest.approx(0.0, abs=1e-5)
    assert nothing.measured.coherence.value == pytest.approx(0.0, abs=1e-5)
    assert [row["layer"] for row in report.summary["layers"]] == [1, 2]
    printed = json.dumps(report.to_json())
    assert "NaN" not in printed
    assert json.loads(printed)["cells"][1]["success"]["low"] is not None

    # asked again it comes from the store, without a model
    bench.engine.unload()
    again = _report(bench, REFUSAL)
    assert again == report
    assert bench.engine.status().source is None

    # an example of a cell is an ordinary run that says the same
    cell = max(reported, key=lambda c: c.place.strength if c.place.kind == "add" else 0)
    examples = json.loads(cell.measured.results)["examples"]
    requests = bench.engine.steering.example_requests(report.sweep, cell, "me")
    assert len(requests) == len(examples)
    for request, example in zip(requests, examples, strict=True):
        view = bench.engine.wait(bench.engine.submit(request).job_id)
        assert view.failure is None, view.failure
        assert bench.runs.get_run(view.run_key).run.response == example["answer"]


def test_a_sweep_that_was_cancelled_goes_on_where_it_stopped(bench: Bench) -> None:
    engine, lab = bench.engine, bench.engine.steering
    spec = replace(REFUSAL, arms=(replace(REFUSAL.arms[0], concept="city"),))
    task = lab.start_sweep(spec, "me")
    assert lab.start_sweep(spec, "you").task_id == task.task_id
    while not (found := lab.sweeps("demo")) or found[0].n_cells < 2:
        assert engine.tasks.wait(task.task_id, 0.05).state == "running"
    engine.tasks.cancel(task.task_id)
    assert engine.tasks.wait(task.task_id, 60).state == "cancelled"
    before = lab.sweep(found[0].sweep_id)
    assert before.best is None
    assert 2 <= len(before.cells) < 15
    after = _report(bench, spec)
    assert after.sweep.sweep_id == before.sweep.sweep_id
    kept = {cell.measured.cell_key: cell.measured for cell in after.cells}
    assert all(kept[cell.measured.cell_key] == cell.measured for cell in before.cells)


def test_features_are_ranked_by_what_they_do_to_the_output(bench: Bench) -> None:
    lab = bench.engine.steering
    view = _done(bench.engine, lab.rank_features("demo", "me", target="I do not know"))
    ranking = lab.sweep(str(view.result["sweep_id"])).summary["ranking"]
    effects = [row["effect"]["value"] for row in ranking]
    assert len(ranking) >= 20
    assert effects == sorted(effects, reverse=True)
    assert effects[0] > 1.0
    # what the gradient proposes moves the target further than features taken at random
    picked = lab.rank_features("demo", "me", features=tuple(range(0, 1000, 125)))
    plain = lab.sweep(str(_done(bench.engine, picked).result["sweep_id"])).summary["ranking"]
    assert effects[0] > max(row["effect"]["value"] for row in plain)
    assert sorted(row["feature"] for row in plain) == list(range(0, 1000, 125))


def test_a_concept_of_ones_own_is_swept_with_ones_own_words(bench: Bench) -> None:
    lab = bench.engine.steering
    pairs = PairSet(
        "jobs",
        tuple(
            Pair(f"Anna Berg is a baker. {n}", f"Anna Berg lives in Oslo. {n}") for n in range(20)
        ),
    )
    _done(bench.engine, lab.make_vectors("demo", pairs, "me", layers=[2]))
    spec = SweepSpec(
        "jobs",
        "demo",
        arms=(Arm("jobs", concept="jobs", strengths=(0.3,)),),
        prompts=tuple(
            f"Who is {name}?" for name in ("Mira Torres", "Elena Costa", "Leo Holm", "Hugo Vidal")
        ),
        words=("baker", "nurse"),
        n_random=0,
        max_new_tokens=8,
    )
    report = _report(bench, spec)
    assert {cell.place.layer for cell in report.cells if cell.place.kind == "add"} == {2}


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (SweepSpec("x", "demo", arms=(Arm("a", concept="happy"),)), "no concept 'happy'"),
        (
            SweepSpec(
                "x", "demo", arms=(Arm("a", (Intervention("add", 1.0, 5),)),), words=("zebra",)
            ),
            "None of the words",
        ),
        (
            SweepSpec("x", "demo", arms=(Arm("a", (Intervention("add", 1.0, 5),)),)),
            "which words",
        ),
        (
            SweepSpec(
                "x", "demo", arms=(Arm("a", (Intervention("add", 1.0, 5000),)),), words=("baker",)
            ),
            "no feature 5,000",
        ),
        (
            SweepSpec(
                "x",
                "demo",
                arms=(Arm("a", (Intervention("add", 1.0, 5),)),),
                words=("baker",),
                prompts=("one", "two"),
            ),
            "at least 4 prompts",
        ),
    ],
)
def test_a_sweep_that_cannot_be_done_says_why(bench: Bench, spec: SweepSpec, message: str) -> None:
    view = bench.engine.tasks.wait(bench.engine.steering.start_sweep(spec, "me").task_id, 60)
    assert view.failure is not None
    assert message in view.failure.message
    assert view.failure.hint


def test_only_a_toy_can_be_swept_for_confabulation(
    make_bench: Callable[..., Bench], checkpoints: Path
) -> None:
    engine = make_bench(checkpoints / "llama", checkpoints / "sae-topk").engine
    with pytest.raises(SweepSpecError, match="no toy"):
        engine.steering.start_sweep(engine.steering.demo_sweep("custom"), "me")
