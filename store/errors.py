"""Errors of the store: one root, small classes, each with a hint for the person who sees it.

Invariant: `str(error)` is one sentence that says what happened; `error.hint` is one sentence that
says what helps. Foreign exceptions (duckdb, pyarrow) are translated to these at the store's edge.
"""

from __future__ import annotations


class StoreError(Exception):
    """Something went wrong in the store or in what was given to it."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class InvalidSpecError(StoreError):
    """A value that defines a run is outside what is allowed."""

    def __init__(self, field: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.field = field


class RunNotFoundError(StoreError):
    """No stored run has this key."""

    def __init__(self, run_key: str) -> None:
        shown = run_key if len(run_key) <= 64 else run_key[:64] + "…"
        super().__init__(
            f"No run with the key {shown!r} is stored.",
            "Check that the link is whole, or ask the question again.",
        )
        self.run_key = run_key


class SourceNotFoundError(StoreError):
    """No stored source has this name or id."""

    def __init__(self, source: str) -> None:
        super().__init__(
            f"No source {source!r} is stored.",
            "A source is stored with its first run; list them with: SELECT name FROM sources.",
        )
        self.source = source


class QueryNotFoundError(StoreError):
    """No saved query has this id."""

    def __init__(self, query_id: str) -> None:
        super().__init__(
            f"No saved query {query_id[:40]!r} is stored.",
            "Its author may have deleted it; look for it under Saved.",
        )
        self.query_id = query_id


class QuestionSetNotFoundError(StoreError):
    """No question set has this name or id."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"There is no question set {name[:80]!r}.",
            "Import one, or use one of: SELECT name FROM question_sets.",
        )
        self.name = name


class DetectorNotFoundError(StoreError):
    """No stored detector has this id."""

    def __init__(self, detector_id: str) -> None:
        super().__init__(
            f"No detector {detector_id[:40]!r} is stored.",
            "List them with: SELECT detector_id, name FROM detectors.",
        )
        self.detector_id = detector_id


class NotTheAuthorError(StoreError):
    """Somebody other than the author wanted to change a saved query, or a list."""

    def __init__(self, author: str, what: str = "query") -> None:
        super().__init__(
            f"Only its author, {author}, can change or delete this {what}.",
            "Save a copy under a title of your own.",
        )
        self.author = author


class StateNotFoundError(StoreError):
    """Nothing is stored under the short id of a link."""

    def __init__(self, state_id: str) -> None:
        super().__init__(
            f"This store has nothing under the link's short id {state_id[:40]!r}.",
            "Was the link made by another Featurebook? Ask for the query itself.",
        )
        self.state_id = state_id


class StoreLockedError(StoreError):
    """Another process holds the store's file."""

    def __init__(self, path: str, holder: str = "") -> None:
        by = f" by {holder}" if holder else " by another process"
        super().__init__(
            f"The store {path} is held{by}.",
            "Use the running server, stop it, or set FEATUREBOOK_STORE to another file.",
        )
        self.path = path


class StoreUnusableError(StoreError):
    """The store's file cannot be opened, read or written (permissions, disk, damage, version)."""

    def __init__(self, path: str, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.path = path


class QueryError(StoreError):
    """A query of a user was refused, or failed, or ran out of its limits."""

    def __init__(self, kind: str, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.kind = kind


class SnapshotError(StoreError):
    """A snapshot could not be written where it was wanted; the store is as it was."""


class SnapshotCancelledError(StoreError):
    """Whoever asked for a snapshot has stopped it; nothing is left of it."""

    def __init__(self) -> None:
        super().__init__("The snapshot was cancelled.", "Ask for it again.")


class SnapshotNotFoundError(StoreError):
    """This server has no such snapshot, or it has made room for newer ones."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            f"There is no snapshot {job_id[:40]!r} on this server.", "Ask for a new one."
        )
        self.job_id = job_id


class LabelNotFoundError(StoreError):
    """No label has this id."""

    def __init__(self, label_id: str) -> None:
        super().__init__(
            f"No label {label_id[:40]!r} is stored.",
            "Open the feature again: its history lists every label that it had.",
        )
        self.label_id = label_id


class LabelConflictError(StoreError):
    """Somebody else changed the label while it was being edited; the edit is kept beside it."""

    def __init__(self, changed_by: str, kept_id: str) -> None:
        super().__init__(
            f"{changed_by} changed this label while you were editing it; what you wrote is kept in"
            " its history.",
            "Read the new text, and restore yours from the history if it is the better one.",
        )
        self.changed_by = changed_by
        self.kept_id = kept_id


class FeatureListNotFoundError(StoreError):
    """No list of features has this id or name."""

    def __init__(self, wanted: str) -> None:
        super().__init__(
            f"There is no list of features {wanted[:60]!r}.",
            "Its author may have deleted or renamed it; the page of features shows all lists.",
        )
        self.wanted = wanted


class VectorNotFoundError(StoreError):
    """No stored vector has this id."""

    def __init__(self, vector_id: str) -> None:
        super().__init__(
            f"No vector {vector_id[:40]!r} is stored.",
            "It may have been deleted, or be in another store; the view vectors lists all.",
        )
        self.vector_id = vector_id


class SweepNotFoundError(StoreError):
    """No stored sweep has this id."""

    def __init__(self, sweep_id: str) -> None:
        super().__init__(
            f"No sweep {sweep_id[:40]!r} is stored.",
            "It may be in another store; the view sweeps lists all.",
        )
        self.sweep_id = sweep_id
