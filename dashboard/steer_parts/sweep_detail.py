"""One sweep: what was chosen and how it did, the whole curve, and the examples of a cell.

Invariant: half of the prompts chose, the other half is reported, and every number says which.
"""

from __future__ import annotations

import json
from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.sweep_summary import best_figures, cell_figures, summary_table
from dashboard.steer_charts import curve_chart, heat_map, ranking_chart
from dashboard.steer_draft import DraftRow, SteerDraft, draft_of, to_steer
from dashboard.steer_parts.asking import ask_both
from dashboard.steer_parts.page import SteerPage
from dashboard.sweep_view import (
    SPLIT_WORDS,
    Measure,
    cell_rows,
    find_cell,
    main_series,
    measures_of,
    read_results,
    splits_of,
    summary_rows,
)
from engine.api import SweepReport
from store.sweep_records import SweepCell

_MOST_RANKED = 20
_N_STEERED = 4
LETTERS = {"t": "right", "f": "made up or wrong", "r": "declined", "b": "no whole answer"}
"""Outcomes of a toy's answers, as sweeps keep them."""


def show_sweep(page: SteerPage, report: SweepReport) -> None:
    """Draws a sweep, finished or not."""
    sweep = report.sweep
    when = "" if sweep.finished_at is None else f", finished {sweep.finished_at:%Y-%m-%d %H:%M} UTC"
    st.text(f"{sweep.name}: {sweep.n_cells:,} cells on {sweep.source_name}{page.toy}{when}")
    if sweep.task == "ranking":
        _show_ranking(page, report)
        return
    measures = measures_of(sweep.task)
    rows = summary_rows(sweep.task, report.summary, report.cells)
    best = next((row for row in rows if row.role == "best"), None)
    if best is not None:
        best_figures(best, measures, report.is_toy)
    elif sweep.summary is not None:
        st.text("Nothing stayed within the limits: no strength is chosen.")
    if rows:
        summary_table(rows, measures, report.is_toy)
        st.caption("Beside each number its 95% interval, on the half that chose nothing.")
    if report.cells:
        _show_curves(page, report, measures)
    cell = find_cell(report.cells, page.state.cell)
    if cell is not None:
        _show_cell(page, report, cell, measures)


def _show_curves(page: SteerPage, report: SweepReport, measures: tuple[Measure, ...]) -> None:
    """Heat map of one measure, and all measures over strength, on one half."""
    splits = splits_of(report.cells)
    if not splits:
        return
    names = {measure.quantity: measure.title for measure in measures}
    chosen = find_cell(report.cells, page.state.cell)
    half = page.state.slice or (chosen.measured.split if chosen else None)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        split = st.segmented_control(
            "Half",
            splits,
            format_func=lambda name: SPLIT_WORDS[name],
            default=half if half in splits else splits[0],
            required=True,
            key="sweep_half",
            label_visibility="collapsed",
        )
        quantity = st.segmented_control(
            "Coloured by",
            list(names),
            format_func=lambda name: names[name],
            default=page.state.y if page.state.y in names else "success",
            required=True,
            key="sweep_measure",
            label_visibility="collapsed",
        )
    rows = cell_rows(report.cells, split or splits[0])
    measure = next(item for item in measures if item.quantity == quantity)
    key = f"heat-{report.sweep.sweep_id}-{split}-{quantity}"

    def on_pick() -> None:
        number = session.selected_number(key, "cell", "number")
        if number is not None:
            page.show(replace(page.state, cell=number, slice=split, y=quantity))

    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.caption(f"{measure.help} Click a cell for its examples{page.toy}.")
        candidates = [row for row in rows if row["role"] == "candidate"]
        chart = heat_map(candidates, measure, page.state.cell)
        st.altair_chart(chart, key=key, on_select=on_pick, selection_mode="cell", width="stretch")
    with right:
        drawn = main_series(rows)
        for place, item in enumerate(measures):
            last = place == len(measures) - 1
            st.altair_chart(curve_chart(drawn, item, last), width="stretch")
        n_left = len({row["series"] for row in rows} - {row["series"] for row in drawn})
        more = f" {n_left} more arms are in the map alone." if n_left else ""
        st.caption(f"Bands are 95% intervals; grey marks are controls.{more}")


def _show_cell(
    page: SteerPage, report: SweepReport, cell: SweepCell, measures: tuple[Measure, ...]
) -> None:
    place, measured = cell.place, cell.measured
    st.markdown(f"**Cell {place.number}**")
    st.text(
        f"{place.arm}, strength {place.strength:g} {place.unit}"
        + ("" if place.layer is None else f", after layer {place.layer}")
        + f", on the {SPLIT_WORDS[measured.split]}, n = {measured.n}"
    )
    results = read_results(cell)
    left, right = st.columns([2, 3], gap="medium")
    with left:
        values = (measured.success, measured.coherence, measured.side_effect)
        cell_figures(results, list(zip(measures, values, strict=False)), report.is_toy)
    with right:
        requests = page.services.engine.steering.example_requests(
            report.sweep, cell, session.user_name()
        )
        for index, (example, request) in enumerate(
            zip(results.get("examples", []), requests, strict=True)
        ):
            with st.container(border=True, gap="xsmall"):
                st.text(example["prompt"])
                st.code(example["answer"] or " ", language=None, wrap_lines=True)
                if example.get("outcome") in LETTERS:
                    st.caption(f"{LETTERS[example['outcome']]}{page.toy}")
                if example.get("plain") not in (None, example["answer"]):
                    st.caption("Without steering:")
                    st.code(example["plain"] or " ", language=None, wrap_lines=True)
                if st.button("Open as runs", icon=":material/play_arrow:", key=f"example-{index}"):
                    draft = draft_of(request.steering, request.sampling)
                    state = replace(
                        page.state, tab=None, prompt=example["prompt"], steer=to_steer(draft)
                    )
                    ask_both(page, replace(state, tools=None), draft, request.messages)


def _show_ranking(page: SteerPage, report: SweepReport) -> None:
    """Features by their effect, and the way to steer with the first ones."""
    ranking = list(report.summary.get("ranking", []))
    if not ranking:
        st.text("No feature is measured yet.")
        return
    labels = page.services.get_label_texts(
        report.sweep.source_id, [row["feature"] for row in ranking[:_MOST_RANKED]]
    )
    rows = [
        {
            "name": f"feature {row['feature']}"
            + (f" · {labels[row['feature']]}" if row["feature"] in labels else ""),
            "effect": row["effect"]["value"],
            "low": row["effect"]["low"],
            "high": row["effect"]["high"],
        }
        for row in ranking[:_MOST_RANKED]
    ]
    spec = json.loads(report.sweep.spec)
    st.text(
        f"The change of the log probability that the answer begins with {spec['words'][0]!r}, over "
        f"{ranking[0]['n']:,} prompts{page.toy}; bars with 95% intervals."
    )
    with st.container(horizontal=True, gap="small"):
        for row in ranking[:_N_STEERED]:
            draft = SteerDraft((DraftRow(feature=row["feature"]),))
            state = replace(page.state, tab=None, steer=to_steer(draft), sweep=None, run=None)
            st.page_link(
                "views/steer.py",
                label=f"Steer with feature {row['feature']}",
                icon=":material/play_arrow:",
                query_params=page.params(state),
            )
    st.altair_chart(ranking_chart(rows), width="stretch")
