"""What is said of features and found by searching them: labels, lists, rows, contexts by filter.

Invariant: field names equal the columns of the public views. A label is immutable: an edit is a new
label that names the one which it replaces.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

from store.records import Context, ContextBand, HistogramBin

LabelOrigin = Literal["human", "auto", "model"]
ORIGINS: tuple[str, ...] = get_args(LabelOrigin)
MIN_SCORE = 0.7
"""An automatic label, or a model's, below this score is kept, but never the current one."""


@dataclass(frozen=True, slots=True)
class Label:
    """What somebody, or something, says that a feature means.

    Attributes:
        text: plain text on one line, whatever characters are in it.
        origin: human, auto (rules over statistics), or model (a language model wrote it).
        author: who wrote it: a person, or the name of the method.
        created_at: UTC.
        score: how well the text predicts where the feature fires, 0 to 1; None if not measured.
        evidence: what it rests on, as JSON text; None if nothing was given.
        replaces: label_id of the one that it is an edit of.
        status: active; replaced (by an edit); late (an edit of one that somebody had edited
            meanwhile: kept, not shown); withdrawn.
        is_current: whether it is the one shown where there is room for one.
        ended_at, ended_by: when it stopped being active, and who did that.
    """

    label_id: str
    source_id: str
    feature: int
    text: str
    origin: str
    author: str
    created_at: datetime
    score: float | None = None
    evidence: str | None = None
    replaces: str | None = None
    status: str = "active"
    is_current: bool = False
    ended_at: datetime | None = None
    ended_by: str | None = None


@dataclass(frozen=True, slots=True)
class NewLabel:
    """A label to be written with many others; its fields are those of Label."""

    feature: int
    text: str
    score: float | None = None
    evidence: str | None = None


@dataclass(frozen=True, slots=True)
class FeatureList:
    """Features that somebody put together.

    Attributes:
        list_id: the name in its link. name: unique whatever its case; a filter may use either.
        updated_at: when name or note were last changed; None if never.
        n_features: how many are on it.
    """

    list_id: str
    name: str
    note: str
    created_by: str
    created_at: datetime
    updated_at: datetime | None
    n_features: int


@dataclass(frozen=True, slots=True)
class FeatureListItem:
    """One feature on a list; `note` says why it is there, `added_by` who wrote that last."""

    source_id: str
    feature: int
    note: str
    added_by: str
    added_at: datetime


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One line of a table of features: its statistics, its current label, its small histogram."""

    source_id: str
    feature: int
    n_tokens_active: int
    density: float
    max_value: float
    mean_value: float
    label: str | None
    label_origin: str | None
    label_score: float | None
    histogram: tuple[HistogramBin, ...] = ()


@dataclass(frozen=True, slots=True)
class FeaturePage:
    """Some of what a search found, in its order.

    Attributes:
        n_found: how many there are in all, the hidden ones not counted.
        n_dense, n_first: hidden because they fire on more than a tenth of all tokens; because they
            fire almost only on the first token of a run. None is hidden where all were asked for.
        n_sampled: tokens of the sample that roles and first tokens were told from.
    """

    rows: tuple[FeatureRow, ...]
    n_found: int
    n_dense: int
    n_first: int
    n_sampled: int


@dataclass(frozen=True, slots=True)
class TokenFiring:
    """How specific a feature is to some text.

    Attributes:
        n_on: sampled places of the text where it fires.
        share_of_text: of those places, on how many it fires, 0 to 1.
        share_of_feature: of the tokens on which it fires, how many are the text; an estimate.
        log_odds: natural logarithm of the odds of the text among the feature's tokens, against its
            odds among all tokens; half a token is added to each count.
        z: log_odds over its standard error.
        mean_value: mean of its values there.
    """

    row: FeatureRow
    n_on: int
    share_of_text: float
    share_of_feature: float
    log_odds: float
    z: float
    mean_value: float


@dataclass(frozen=True, slots=True)
class TokenFirings:
    """Features that fire on a text, the most specific ones first.

    Attributes:
        n_occurrences: tokens of the source that are the text, or the last token of it.
        n_sampled: of them those whose activations were read.
        n_dense, n_first: hidden, as in FeaturePage.
    """

    rows: tuple[TokenFiring, ...]
    n_occurrences: int
    n_sampled: int
    n_dense: int
    n_first: int


@dataclass(frozen=True, slots=True)
class FiringFeature:
    """A feature that fires on chosen tokens of a run.

    Attributes:
        position: of them, where it is strongest; value: how strong there.
        relative: value over the feature's largest stored value, 0 to 1.
        rarity: value times the surprise of the feature firing, -ln(density).
    """

    row: FeatureRow
    position: int
    value: float
    relative: float
    rarity: float


@dataclass(frozen=True, slots=True)
class FiringFeatures:
    """The strongest features on chosen tokens; n_found before the limit, hidden ones left out."""

    rows: tuple[FiringFeature, ...]
    n_found: int
    n_dense: int
    n_first: int


@dataclass(frozen=True, slots=True)
class ContextFilter:
    """Which contexts of a feature are wanted; what is not given does not matter.

    Attributes:
        generated_only: only where the model generated the token.
        role: whose message the token is of.
        outcome: of runs that were judged so, whatever the case of the letters.
        runs: a filter of runs, as filters.py reads it.
    """

    generated_only: bool = False
    role: str | None = None
    outcome: str | None = None
    runs: str = ""


@dataclass(frozen=True, slots=True)
class FilteredContexts:
    """Contexts that pass a filter.

    Attributes:
        contexts: from the top, strongest first; empty where bands were asked for.
        bands: the strongest first; empty where contexts from the top were asked for.
        n_examined: places that were looked at; n_passed: of them, how many pass.
        is_complete: whether those were all places of the runs that pass. If not, the strongest ones
            (from the top) or a sample of them (bands) were looked at.
    """

    contexts: tuple[Context, ...]
    bands: tuple[ContextBand, ...]
    n_examined: int
    n_passed: int
    is_complete: bool
