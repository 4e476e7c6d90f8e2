"""What a run leaves in the store, and what is read back: frozen records and columnar bundles.

Invariant: field names equal the columns of the public views. Bulk data (tokens by the thousand,
activations by the million) travels as numpy columns of equal length, never as one object a row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from store.exchange_records import Exchange
from store.specs import Message
from store.steering_records import RunIntervention

IntColumn = npt.NDArray[np.int32]
FloatColumn = npt.NDArray[np.float32]
DoubleColumn = npt.NDArray[np.float64]
BoolColumn = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Run:
    """One generation, or one text read in.

    Attributes:
        prompt: content of the last message of the user, for lists and search.
        response: text of the generated tokens, special ones left out; empty for kind `text`.
        finish_reason: `stop` (an end token), `length` (max_new_tokens), or `read` (kind `text`).
        compute_s: seconds that generation, capture and encoding took.
        hits: how often the stored run has been returned instead of being computed.
        created_at: UTC.
    """

    run_key: str
    source_id: str
    source_name: str
    kind: str
    prompt: str
    response: str
    messages: tuple[Message, ...]
    n_prompt_tokens: int
    n_generated_tokens: int
    max_new_tokens: int
    temperature: float
    top_p: float
    top_k: int
    seed: int
    tools: bool
    steering: str
    finish_reason: str
    compute_s: float
    hits: int
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Token:
    """One position of a run.

    Attributes:
        position: index in the whole sequence, prompt included, from 0.
        text: the token's own characters; the texts of a run joined give its text.
        logprob: natural logarithm of the model's probability of this token given those before it,
            unwarped by temperature; None for position 0.
        rank: 0 if it was the most likely token; None for position 0.
        entropy: of the distribution that this token was drawn from, in nats; None for position 0.
        n_active: features above zero at this position, also where fewer are stored.
    """

    position: int
    token_id: int
    text: str
    role: str
    is_generated: bool
    is_special: bool
    logprob: float | None
    rank: int | None
    entropy: float | None
    n_active: int


@dataclass(frozen=True, slots=True)
class TokenColumns:
    """All tokens of a run as columns of one length: what bulk writing takes instead of Tokens.

    Row i is position i. The columns are those of Token, with NaN where a logprob or an entropy is
    not known, and -1 for such a rank.
    """

    token_id: IntColumn
    text: Sequence[str]
    role: Sequence[str]
    is_generated: BoolColumn
    is_special: BoolColumn
    logprob: DoubleColumn
    rank: IntColumn
    entropy: DoubleColumn
    n_active: IntColumn

    def __len__(self) -> int:
        return len(self.text)


@dataclass(frozen=True, slots=True)
class Activations:
    """Non-zero activations, as three columns of one length, ordered by (position, feature).

    Attributes:
        position: int32, index in the whole sequence.
        feature: int32, in [0, d_sae).
        value: float32, above zero.
    """

    position: IntColumn
    feature: IntColumn
    value: FloatColumn

    def __len__(self) -> int:
        return int(self.position.shape[0])


@dataclass(frozen=True, slots=True)
class SharedBeginning:
    """The first tokens of a run whose activations another stored run has.

    Attributes:
        run_key: of that run, of the same source.
        n_tokens: from position 0.
    """

    run_key: str
    n_tokens: int


@dataclass(frozen=True, slots=True)
class WholeRun:
    """Everything that a run leaves: what is written in one transaction.

    Attributes:
        tokens: all positions, from 0.
        activations: ordered by position and feature; of the tokens after the shared ones.
        shared: beginning whose activations another run has.
        interventions: what those of a steered run achieved.
        exchange: how it was come to, where it ends an exchange with tools.
    """

    run: Run
    tokens: tuple[Token, ...] | TokenColumns
    activations: Activations
    shared: SharedBeginning | None = None
    interventions: tuple[RunIntervention, ...] = ()
    exchange: Exchange | None = None


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run with all its tokens: what a page or a link shows before any feature is asked for."""

    run: Run
    tokens: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Failure:
    """A computation that failed, kept with its reason. No run is stored for it."""

    run_key: str
    source_name: str
    prompt: str
    error_type: str
    message: str
    hint: str
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class FeatureStats:
    """One feature over everything stored of its source.

    Attributes:
        n_tokens_active: stored tokens on which the feature is above zero.
        density: n_tokens_active over all stored tokens of the source, 0 to 1.
        max_value: largest stored value; mean_value: mean over the active tokens.
    """

    source_id: str
    feature: int
    n_tokens_active: int
    density: float
    max_value: float
    mean_value: float
    label: str | None


@dataclass(frozen=True, slots=True)
class HistogramBin:
    """Tokens on which a feature fired with a value in [low, high); bins are a quarter octave wide.

    Attributes:
        low: smallest value of the bin; `high` is four bins to a doubling above it.
        n_tokens_active: how many tokens.
    """

    low: float
    high: float
    n_tokens_active: int


@dataclass(frozen=True, slots=True)
class Context:
    """One place where a feature fired: enough to show it and to link to it."""

    run_key: str
    position: int
    value: float
    before: str
    text: str
    after: str


@dataclass(frozen=True, slots=True)
class ContextBand:
    """Contexts sampled from a stretch of a feature's values, such as its weakest fifth.

    Attributes:
        low: smallest value of the band; high: largest.
        n_tokens_active: tokens in the band, of which the contexts are a sample.
    """

    low: float
    high: float
    n_tokens_active: int
    contexts: tuple[Context, ...]


@dataclass(frozen=True, slots=True)
class StoreSummary:
    """What the store holds and what the memo saved.

    Attributes:
        hits: times a stored run was returned; saved_s: seconds of computing those hits saved.
        size_bytes: of the file and its write-ahead log on disk.
    """

    n_runs: int
    n_tokens: int
    n_activations: int
    hits: int
    saved_s: float
    size_bytes: int


@dataclass(frozen=True, slots=True)
class SavedQuery:
    """A query that somebody saved for everyone, under a title.

    Attributes:
        updated_at: when its author last changed it; None if never.
    """

    query_id: str
    title: str
    sql: str
    created_by: str
    created_at: datetime
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class PastQuery:
    """A query that somebody ran.

    Attributes:
        elapsed_ms, n_rows: None if it failed.
        failure: one sentence that says why it failed; None if it did not.
        ran_at: when it ended, UTC.
    """

    sql: str
    elapsed_ms: float | None
    n_rows: int | None
    truncated: bool
    failure: str | None
    ran_at: datetime


@dataclass(frozen=True, slots=True)
class Changes:
    """What was stored after some moment."""

    n_runs: int
    n_labels: int
    n_outcomes: int
