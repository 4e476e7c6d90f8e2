"""Which questions, of which source; asking them; importing more; and the work under way.

Invariant: the choice is in the link; what takes long is a task, followed here until it ends.
"""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.link_choice import link_choice
from dashboard.components.question_set_forms import (
    FillChoice,
    SetSize,
    fill_form,
    fill_words,
    import_form,
)
from dashboard.components.task_progress import follow_task, task_end
from dashboard.confabulation_parts.page_data import PageData
from dashboard.links import ViewState, parse_link
from dashboard.services import Services
from engine.api import FillRequest, SourceInfo, TaskView
from store.question_records import QuestionSet

KINDS = ("fill", "detectors", "judge", "detector-scores")


def list_sets(services: Services, source: SourceInfo) -> dict[str, str]:
    """Value in the link and words of every set that a source can be asked."""
    lab = services.engine.confabulation
    built = [lab.find_built_in(name, source.name) for name in lab.built_in_sets(source.name)]
    seeds = {item.world_seed for item in built if item is not None} | {None}
    options = {
        item.name: f"{item.name} · {len(item.questions):,} questions"
        for item in built
        if item is not None
    }
    for kept in lab.sets.list_sets():
        if kept.world_seed in seeds:
            options[set_value(kept)] = f"{kept.name} · {kept.n_questions:,} questions"
    return options


def set_value(kept: QuestionSet) -> str:
    """What a link says of a set: its name where it can, else its id."""
    named = parse_link({"set": kept.name})
    return kept.set_id if named.problems else kept.name


def choose_source(sources: tuple[SourceInfo, ...], source: SourceInfo) -> None:
    """Whose answers are looked at."""
    link_choice(
        "Source",
        {item.name: f"source {item.name}" for item in sources},
        source.name,
        "choose_source",
        lambda _state, name: ViewState(source=name),
        is_list=True,
    )


def choose_set(options: dict[str, str], current: str) -> None:
    """Which questions."""
    link_choice(
        "Question set",
        options,
        current,
        "choose_set",
        lambda state, name: ViewState(source=state.source, set=name, tab=state.tab),
        is_list=True,
    )


def fill_button(page: PageData, set_name: str) -> None:
    """Asks more of the set."""
    if st.button("Ask the questions", icon=":material/play_arrow:", key="fill_button"):
        _fill_dialog(page, set_name)


@st.dialog("Ask the questions")
def _fill_dialog(page: PageData, set_name: str) -> None:
    with error_boundary():
        choice = fill_form(
            set_size(page, set_name),
            bool(page.source.tool_names),
            _pace_s(page),
            page.source.is_toy,
        )
        if choice is not None:
            start_fill(page, set_name, choice)


def import_button(page: PageData) -> None:
    """Takes in a file of questions."""
    if st.button("Import questions", icon=":material/upload:", key="import_button"):
        _import_dialog(page)


@st.dialog("Import questions")
def _import_dialog(page: PageData) -> None:
    with error_boundary():
        choice = import_form()
        if choice is None:
            return
        read = page.services.engine.confabulation.import_set(
            choice.name, choice.content, choice.file_name, session.user_name()
        )
        twice = f"{read.n_repeated:,} rows said what another had said. " if read.n_repeated else ""
        session.tell(
            f"{read.question_set.n_questions:,} questions are kept as {read.question_set.name}. "
            f"{twice}{' '.join(read.notes)}".strip()
        )
        session.show(ViewState(source=page.source.name, set=set_value(read.question_set)))
        st.rerun()


def empty_page(page: PageData, set_name: str) -> None:
    """Nothing asked yet: a sentence and a button."""
    size = set_size(page, set_name)
    tools = (False, True) if page.source.tool_names else (False,)
    n_answers = sum(size.n_ways[item] for item in tools)
    st.text(
        f"Nothing asked yet. The set {set_name} has {size.n_questions:,} questions; each is asked"
        f"{' with tools off and with tools on' if len(tools) == 2 else ''}, and its answer judged."
    )
    whose = "the demo's" if page.source.is_toy and set_name.startswith("demo") else "its"
    if st.button(
        f"Ask {whose} {size.n_questions:,} questions",
        type="primary",
        icon=":material/play_arrow:",
        key="ask_all",
    ):
        start_fill(page, set_name, FillChoice(tools, None))
    st.caption(f"{fill_words(n_answers, _pace_s(page), page.source.is_toy)}; it can be stopped.")


def set_size(page: PageData, set_name: str) -> SetSize:
    """How much a set asks, and how much of it is answered."""
    lab = page.services.engine.confabulation
    if page.kept is None:
        built = lab.find_built_in(set_name, page.source.name)
        questions = built.questions if built else ()
        ways = {
            tools: sum(item.tools in ("both", "on" if tools else "off") for item in questions)
            for tools in (False, True)
        }
        return SetSize(len(questions), ways, {})
    rows = lab.answer_rows
    answered = rows.count_cases(page.kept.set_id, page.source_id) if page.source_id else ()
    ways = dict(rows.count_ways(page.kept.set_id))
    return SetSize(page.kept.n_questions, ways, dict(answered))


def start_fill(page: PageData, set_name: str, choice: FillChoice) -> None:
    """Begins to ask, and shows it."""
    task = page.services.engine.confabulation.start_fill(
        FillRequest(
            set_name,
            page.source.name,
            choice.tools,
            choice.limit,
            asked_by=session.user_name(),
        )
    )
    follow(task)


def follow(task: TaskView) -> None:
    """Puts a task that was begun into the link, and draws the page again."""
    session.show(replace(session.view(), task=task.task_id))
    st.rerun()


def show_work(services: Services, state: ViewState) -> bool:
    """The work of the link, else the newest that is under way; what came of it, once it is done.

    Returns:
        whether questions are being asked now.
    """
    task = services.find_task(state.task) or next(
        (item for item in services.engine.tasks.tasks() if item.is_active and item.kind in KINDS),
        None,
    )
    if task is None:
        return False
    if task.is_active:
        task_id = task.task_id
        follow_task(
            lambda: services.find_task(task_id),
            lambda: services.engine.tasks.cancel(task_id),
            key="work",
        )
    elif task.state == "done":
        _absorb(services, state, task)
    elif task_end(task, key="work"):
        session.show(replace(state, task=None))
        st.rerun()
    return task.is_active and task.kind == "fill"


def _absorb(services: Services, state: ViewState, task: TaskView) -> None:
    """Turns the link from a task that is done to what it made."""
    result = task.result
    shown = replace(state, task=None)
    if task.kind == "fill" and result.get("n_failed"):
        session.tell(
            f"{result['n_failed']:,} questions could not be asked: {result['first_failure']}",
            "Ask again: what is stored is not asked twice.",
        )
    elif task.kind == "detectors":
        cards = services.engine.confabulation.detectors.list_detectors(with_retired=True)
        ids = [card for card in cards if card.evaluation_id == result.get("evaluation_id")]
        best = next((card for card in ids if card.is_chosen), ids[0] if ids else None)
        shown = replace(shown, detector=best.detector_id if best else None, tab="detector")
    elif task.kind == "detector-scores":
        session.tell(
            f"{result['n_scored']:,} runs are scored; {result['n_passed_over']:,} could not be.",
            "They are rows of the view detector_scores.",
        )
    session.show(shown)
    st.rerun()


def _pace_s(page: PageData) -> float | None:
    rows = page.services.engine.confabulation.answer_rows
    return rows.find_pace_s(page.source_id) if page.source_id else None
