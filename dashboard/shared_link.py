"""Links that are copied from a page: when they were made, and what was added since then.

Invariant: what a link shows is as of now; where its time is known, what is new is said.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from dashboard.components.copy_link import copy_link
from dashboard.components.since_link import since_link
from dashboard.links import ViewState
from dashboard.services import Services
from store.changes import count_changes
from store.errors import SourceNotFoundError


def share_link(services: Services, page: str, state: ViewState) -> None:
    """Draws the copy-link button: the page as it is, made now; work under way is not part of it."""
    made = replace(state, job=None, task=None, at=datetime.now(UTC))
    copy_link(services.short_path(page, made), key="copy_link")


def tell_changes(
    services: Services,
    state: ViewState,
    source: str | None = None,
    feature: int | None = None,
    run_key: str | None = None,
) -> None:
    """Draws what was stored since the link was made; nothing where the address has no time.

    Args:
        source: the only source that counts; feature: the only one whose labels do.
        run_key: the one run that is shown, where it is only one.
    """
    if state.at is None:
        return
    try:
        changes = count_changes(services.store, state.at, source, feature, run_key)
    except SourceNotFoundError:
        return  # nothing of it is stored: the page says so
    since_link(state.at, changes)
