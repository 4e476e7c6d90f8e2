"""Leakage audits: does something that has nothing to do with truth tell the classes apart?

Invariant: an audit sees no feature, no probability and no residual; its probe learns from training
runs and is measured on held-out ones, as detectors are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from engine.detection.arrays import BoolArray, FloatArray, IntArray
from engine.detection.baselines import word_rows
from engine.detection.bootstrap import draw_groups, estimate
from engine.detection.fitting import L2_STRENGTHS, Rows, fit_logistic
from engine.detection.metrics import LEAST_FOR_A_NUMBER, auroc_draws
from engine.detection.reports import Audit
from engine.detection.splits import Split
from engine.detection.table import DetectionTable

LIMIT = 0.6
"""AUROC from which on an audit is red."""
CHANCE = 0.5
_N_BINS = 8


def audit_leaks(table: DetectionTable, split: Split) -> tuple[Audit, ...]:
    """All audits, the one that sees everything last."""
    parts: list[tuple[str, sp.csr_array]] = list(_covariates(table, split.train))
    audits = [_audit(name, rows, table, split) for name, rows in parts]
    together = sp.csr_array(sp.hstack([rows for _, rows in parts], format="csr"))
    return (*audits, _audit("all of these together", together, table, split))


def _covariates(table: DetectionTable, train: BoolArray) -> Iterator[tuple[str, sp.csr_array]]:
    """Name and columns, [n, columns] of 0 and 1, of what each audit may see."""
    yield "entity token count", _bins(table.n_entity_tokens, train)
    yield "answer length", _bins(table.n_generated, train)
    yield "template", _kinds(table.templates)
    yield "tools flag", _flag(table.tools)
    yield "question words", word_rows(table.questions, train)
    yield "refusal wording", _flag(table.refuses)
    yield "truncation", _flag(table.is_truncated)


def _audit(name: str, rows: sp.csr_array, table: DetectionTable, split: Split) -> Audit:
    train, test = split.train, split.test
    if not _varies(rows[train]):
        return Audit(name, None, False, "It is the same in all training runs, or not known.")
    y = table.y
    if min(int(y[test].sum()), int((~y[test]).sum())) < LEAST_FOR_A_NUMBER:
        return Audit(name, None, False, "Too few held-out runs for a number.")
    score = _probe_scores(rows, table, train)[test]
    found = estimate(auroc_draws(y[test], score, draw_groups(table.groups[test])))
    is_red = found.value > LIMIT
    text = (
        f"A probe that sees only this reaches AUROC {found.value:.2f} [{found.low:.2f}, "
        f"{found.high:.2f}] on held-out runs"
    )
    if not is_red:
        return Audit(name, found, False, f"{text}: not above {LIMIT}.")
    judged = f"{text}, above {LIMIT}: detectors on these runs are confounded by it."
    if found.low <= CHANCE:
        judged = f"{text}, above {LIMIT}; chance alone may do that here: add runs to be sure."
    return Audit(name, found, True, judged)


def _probe_scores(rows: Rows, table: DetectionTable, train: BoolArray) -> FloatArray:
    probe = fit_logistic(rows[train], table.y[train], table.groups[train], L2_STRENGTHS)
    return probe.score(rows)


def _varies(rows: sp.csr_array) -> bool:
    """Whether some column is neither always 0 nor always 1 in these rows."""
    if not rows.shape[1]:
        return False
    total = np.asarray(rows.sum(axis=0)).ravel()
    return bool(((total > 0) & (total < rows.shape[0])).any())


def _bins(values: IntArray, train: BoolArray) -> sp.csr_array:
    """A column a stretch of values: a probe then also sees what neither rises nor falls."""
    edges = np.unique(np.quantile(values[train], np.linspace(0, 1, _N_BINS + 1)[1:-1]))
    return _one_hot(np.searchsorted(edges, values, side="right"))


def _kinds(names: Sequence[str | None]) -> sp.csr_array:
    known = sorted({name or "" for name in names})
    return _one_hot(np.array([known.index(name or "") for name in names], np.int64))


def _flag(flags: BoolArray) -> sp.csr_array:
    return sp.csr_array(flags[:, None].astype(np.float64))


def _one_hot(codes: IntArray) -> sp.csr_array:
    n = len(codes)
    shape = (n, int(codes.max()) + 1 if n else 0)
    return sp.csr_array((np.ones(n), (np.arange(n), codes)), shape=shape)
