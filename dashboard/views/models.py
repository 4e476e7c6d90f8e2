"""Models: which sources are here, what is missing, what it costs, and what runs now."""

from __future__ import annotations

import streamlit as st

from dashboard import session
from dashboard.components.boundary import error_boundary
from dashboard.components.copy_link import copy_link
from dashboard.components.estimate_panel import estimate_panel
from dashboard.components.notice import notice
from dashboard.components.page_header import page_header
from dashboard.components.resident_panel import resident_panel
from dashboard.components.sae_table import sae_table
from dashboard.components.source_actions import licence_line, source_actions
from dashboard.components.source_form import source_form
from dashboard.components.source_head import source_head
from dashboard.components.source_list import SourceLine, source_list
from dashboard.components.transfer_panel import (
    Action,
    transfer_end,
    transfer_line,
    transfer_progress,
)
from dashboard.components.weights_table import weights_table
from dashboard.links import ViewState, to_path
from dashboard.services import Services, get_services
from dashboard.weights_view import (
    format_bytes,
    is_worth_showing,
    sae_words,
    size_words,
    source_facts,
    source_words,
)
from engine.api import EngineStatus, InvalidSourceError, SourceInfo, SourceWeights, TransferView
from engine.errors import WEIGHTS_COMMAND, EngineError

POLL_S = 0.5
LIST = "source_list"


def read_weights(services: Services, sources: tuple[SourceInfo, ...]) -> dict[str, SourceWeights]:
    """What is on disk of each source; one that cannot be looked at is left out."""
    found = {}
    for info in sources:
        try:
            found[info.name] = services.engine.weights(info.name)
        except EngineError:
            continue
    return found


def act(services: Services, source: str, action: Action | None, transfer_id: str = "") -> None:
    """Does what a button of a transfer asked for, and draws the page again."""
    if action is None:
        return
    if action == "cancel":
        services.engine.cancel_transfer(transfer_id)
    else:
        services.engine.start_transfer(action, source, session.user_name())
    st.rerun()


def is_working(engine: EngineStatus) -> bool:
    """Whether what is loaded may change without anybody's doing on this page."""
    return engine.state in {"loading", "busy"} or engine.n_queued > 0


def show_now(services: Services, drawn: EngineStatus) -> None:
    """What is loaded; followed while it changes."""

    @st.fragment(run_every=POLL_S if is_working(drawn) else None)
    def now() -> None:
        with error_boundary():
            engine = services.engine.status()
            if (engine.state, engine.source) != (drawn.state, drawn.source):
                st.rerun()
            if resident_panel(engine, key="now"):
                services.engine.unload()
                st.rerun()

    now()


@st.fragment(run_every=POLL_S)
def follow_others(services: Services, transfer_ids: tuple[str, ...]) -> None:
    """Draws the transfers of other sources until one of them ends."""
    with error_boundary():
        for transfer_id in transfer_ids:
            transfer = services.engine.transfer(transfer_id)
            if not transfer.is_active:
                st.rerun()
            act(services, transfer.source, transfer_line(transfer, transfer_id), transfer_id)


@st.fragment(run_every=POLL_S)
def follow(services: Services, transfer_id: str) -> None:
    """Draws a transfer until it ends; then the whole page shows what came of it."""
    with error_boundary():
        transfer = services.engine.transfer(transfer_id)
        if not transfer.is_active:
            st.rerun()
        act(services, transfer.source, transfer_progress(transfer, key="chosen"), transfer_id)


def pick() -> None:
    """Chooses the source that was clicked in the list."""
    session.select_source(session.picked_name(LIST, "picked"))


def show_list(
    services: Services,
    sources: tuple[SourceInfo, ...],
    weights: dict[str, SourceWeights],
    active: dict[str, TransferView],
    chosen: str | None,
) -> None:
    """All sources, a line each."""
    engine = services.engine.status()
    lines = []
    for info in sources:
        words = source_words(info, weights.get(info.name), active.get(info.name))
        marks = {
            "toy": info.is_toy,
            "gated": info.is_gated,
            "yours": info.origin == "user",
            "loaded": engine.source == info.name and engine.state in {"idle", "busy"},
        }
        lines.append(
            SourceLine(
                name=info.name,
                title=info.title,
                model=info.model_id,
                sae=sae_words(info),
                size=size_words(info, weights.get(info.name)),
                state=words.text,
                tone=words.tone,
                marks=tuple(name for name, is_set in marks.items() if is_set),
            )
        )
    source_list(lines, chosen, key=LIST, on_pick=pick)


def show_actions(
    services: Services, info: SourceInfo, weights: SourceWeights | None, is_moving: bool
) -> None:
    """The buttons of a source, and what they do."""
    engine = services.engine.status()
    pressed = source_actions(
        info,
        weights,
        is_loaded=engine.source == info.name and engine.state in {"idle", "busy"},
        is_moving=is_moving,
    )
    with error_boundary():
        if pressed == "load":
            services.engine.load(info.name)
            st.rerun()
        elif pressed == "remove":
            services.engine.remove_source(info.name)
            session.show(ViewState())
            st.rerun()
        else:
            act(services, info.name, pressed)


def show_transfer(
    services: Services,
    info: SourceInfo,
    weights: SourceWeights | None,
    latest: TransferView | None,
) -> None:
    """The latest transfer of a source: followed while it runs, else how it ended."""
    if latest is None:
        return
    if latest.is_active:
        follow(services, latest.transfer_id)
    elif is_worth_showing(latest, weights):
        act(services, info.name, transfer_end(latest, key="chosen"))


def show_details(
    services: Services,
    info: SourceInfo,
    weights: SourceWeights | None,
    latest: TransferView | None,
) -> None:
    """One source: what it is, what is here of it, what can be done."""
    marks = [word for word, is_set in (("toy", info.is_toy), ("gated", info.is_gated)) if is_set]
    source_head(info.name, info.title, marks, source_facts(info), key="head")
    show_actions(services, info, weights, latest is not None and latest.is_active)
    if info.is_gated and not info.is_ready:
        licence_line(info)
    show_transfer(services, info, weights, latest)
    if info.problem is not None and (weights is None or weights.is_complete):
        notice("warning", info.problem)
    if weights is not None:
        room = f"{format_bytes(weights.free_bytes)} free on the disk of {weights.cache_dir}"
        weights_table(weights.components, room, key="weights")
    try:
        estimate_panel(services.engine.estimate(info.name), key="estimate")
    except EngineError as error:
        st.text(error.message)
    with st.expander("On the command line", icon=":material/terminal:"):
        st.code(
            f"{WEIGHTS_COMMAND} status {info.name}\n{WEIGHTS_COMMAND} download {info.name}\n"
            f"{WEIGHTS_COMMAND} verify {info.name} --load",
            language="sh",
        )


def show_form(services: Services, sources: tuple[SourceInfo, ...]) -> None:
    """Adds a source; it is saved only if it is valid."""
    with st.expander("Add a source", icon=":material/add:"):
        model = st.text_input(
            "Find a published SAE",
            key="sae_search",
            max_chars=80,
            placeholder="part of a model's name, such as gemma-2-2b",
            help="Searches the registry of sae-lens; nothing is fetched.",
        )
        if model and model.strip():
            with st.spinner("Reading the registry", show_time=True):
                releases = services.engine.sae_releases(model.strip())
            sae_table(releases)
        n_added = sum(info.origin == "user" for info in sources)
        sent = source_form(key=f"add{n_added}")
        if sent is None:
            return
        try:
            added = services.engine.add_source(sent.definition)
        except InvalidSourceError as error:
            sent.refuse(error.message, error.hint, error.key)
        except EngineError as error:
            sent.refuse(error.message, error.hint)
        else:
            session.show(ViewState(source=added.name))
            st.rerun()


services = get_services()
link = session.read_link()
sources = services.engine.sources()
engine = services.engine.status()
# Asked for once: a transfer that ends while the page is drawn must not be under way in one place
# and over in another, where nothing would draw it again.
transfers = services.engine.transfers()
active = {item.source: item for item in transfers if item.is_active}
wanted = link.state.source or (sources[0].name if sources else None)
latest = next((item for item in transfers if item.source == wanted), None)
chosen = next((info for info in sources if info.name == wanted), None)
place = page_header("Which models are here, and what runs now?", None, engine, link.problems)
with place:
    copy_link(to_path("models", ViewState(source=wanted)), key="copy_link")
problem = services.engine.sources_problem()
if problem is not None:
    notice("warning", problem)
show_now(services, engine)
weights = read_weights(services, sources)
left, right = st.columns([5, 7], gap="medium")
with left:
    show_list(services, sources, weights, active, chosen.name if chosen else None)
    others = tuple(item.transfer_id for item in active.values() if item.source != wanted)
    if others:
        follow_others(services, others)
with right, error_boundary():
    if chosen is not None:
        show_details(services, chosen, weights.get(chosen.name), latest)
    else:
        notice(
            "warning",
            f"There is no source named {wanted}." if wanted else "No source is configured.",
            "Choose one of the list, or add it below.",
        )
show_form(services, sources)
