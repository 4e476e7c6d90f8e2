"""Asking a question plainly and steered at once, and finding what came of it.

Invariant: both answers are ordinary memoized runs; nothing is computed on the script thread.
"""

from __future__ import annotations

import json
from dataclasses import replace

from dashboard import session
from dashboard.components.notice import notice
from dashboard.components.source_problem import source_problem
from dashboard.links import ViewState
from dashboard.run_view import RunView
from dashboard.steer_draft import SteerDraft
from dashboard.steer_parts.page import SteerPage
from engine.api import RunRequest
from engine.errors import EngineError, WeightsMissingError
from store.errors import RunNotFoundError, StoreError
from store.specs import Message

EDITOR = "steer"
"""Name of the editor in the session."""


def ask_both(
    page: SteerPage, state: ViewState, draft: SteerDraft, messages: tuple[Message, ...]
) -> None:
    """Asks both, and makes the link theirs; what cannot be run is said, with what helps.

    Args:
        page: the page.
        state: whose prompt, interventions and tools the link is to have.
        draft: the interventions of the state.
        messages: the chat whose next answer is steered.
    """
    engine = page.services.engine
    try:
        steering = draft.steering()
        plain = RunRequest(
            messages=messages,
            source=page.source.name,
            tools=state.tools == "on",
            sampling=draft.sampling,
            created_by=session.user_name(),
        )
        job = engine.submit(replace(plain, steering=steering))
        plain_job = engine.submit(plain) if steering.interventions else job
    except WeightsMissingError as error:
        source_problem(page.source.name, error.message, error.hint, is_missing=True)
        return
    except (EngineError, StoreError) as error:
        notice("error", error.message, error.hint)
        return
    session.remember_pair(job.job_id, plain_job.job_id)
    session.note_edit(EDITOR, content_of(state))
    run, other = job.run_key or None, plain_job.run_key or None
    page.go(replace(state, run=run, other=other, job=job.job_id, task=None, at=None))


def find_view(page: SteerPage, run_key: str | None) -> RunView | None:
    """A stored run; None if it is not stored."""
    if run_key is None:
        return None
    try:
        return page.services.get_run_view(run_key)
    except RunNotFoundError:
        return None


def content_of(state: ViewState) -> str:
    """What the editor holds, as one text."""
    return json.dumps([state.source, state.prompt, state.tools, state.steer])
