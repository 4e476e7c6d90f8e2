"""What is said of detectors: figures with intervals, curves, audits; plain data for pages and JSON.

Invariant: no arrays and no tensors here; a report read back from its JSON equals the one written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

DetectorKind = Literal["candidate", "baseline"]
Verdict = Literal["no number", "exploratory", "measured", "comparable"]
"""How much a figure may carry: fewer than 10 in a class, 10 to 49, 50 to 199, 200 or more."""

WHOLE = "all"
"""Name of the slice that holds every held-out run."""
UNSEEN = "unseen template"
"""Name of the slice whose templates no training run had."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its 95% interval by bootstrap over groups.

    Attributes:
        value: on the held-out runs; low, high: 2.5% and 97.5% of the draws.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Point:
    """A point of a curve. `threshold` is the score from which on a run is called positive."""

    x: float
    y: float
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Runs of about equal calibrated probability; bins hold equal numbers of runs.

    Attributes:
        predicted: mean probability; observed: share of positives; both 0 to 1.
        n: runs in the bin.
    """

    predicted: float
    observed: float
    n: int


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn of a detector on one slice.

    Attributes:
        roc: false positive rate and true positive rate.
        pr: recall and precision.
        reliability: calibrated probability against what was observed.
        risk_coverage: share of runs that are answered, least suspicious first, and share of
            positives among those.
    """

    roc: tuple[Point, ...]
    pr: tuple[Point, ...]
    reliability: tuple[ReliabilityBin, ...]
    risk_coverage: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class SliceResult:
    """A detector on one slice of the held-out runs.

    Attributes:
        name: of the slice: `all`, `unseen template`, or one that the question set names.
        verdict: how much the figures may carry; they are all None where it is `no number`.
        auprc: read it beside `prevalence`, which a guess reaches.
        fpr_at_95_tpr, recall_at_10_fpr: rates, 0 to 1.
        brier, ece: of the calibrated probability; ece over ten bins of equal numbers.
        aurc: area under risk over coverage; the smaller the better.
        curves: None where there is no number.
    """

    name: str
    n_positive: int
    n_negative: int
    n_groups: int
    prevalence: float
    verdict: Verdict
    auroc: Estimate | None = None
    auprc: Estimate | None = None
    fpr_at_95_tpr: Estimate | None = None
    recall_at_10_fpr: Estimate | None = None
    brier: Estimate | None = None
    ece: Estimate | None = None
    aurc: Estimate | None = None
    curves: Curves | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two detectors on the same held-out runs, draw by draw.

    Attributes:
        other: name of the one that is taken off; difference: of AUROC.
        may_be_called_better: from 200 in each class on, where the interval lies above zero.
    """

    name: str
    other: str
    slice: str
    difference: Estimate
    may_be_called_better: bool


@dataclass(frozen=True, slots=True)
class DetectorReport:
    """One detector, trained or not, with what it reaches.

    Attributes:
        detector_id: of the stored detector; None for what cannot be applied to a new run.
        name: what it is called in tables; kind: candidate or baseline.
        method: how it decides, such as `sae_logistic` or `value_logprob`.
        site: which tokens it looks at, for people.
        note: what there is to know, such as which features; or why it is not available.
        n_features: features or directions that it weighs; 0 where it has none.
        slices: the slice `all` first; empty where it is not available.
        train_auroc: on the training runs; a gap to the held-out one is overfitting.
        is_available: False where a baseline does not apply or could not be computed.
        is_chosen: the candidate that did best inside the training runs: the one to use.
        inner_auroc: over folds inside the training runs, by which candidates are chosen.
    """

    detector_id: str | None
    name: str
    kind: DetectorKind
    method: str
    site: str
    note: str
    n_features: int
    slices: tuple[SliceResult, ...]
    train_auroc: float | None
    inner_auroc: float | None = None
    is_available: bool = True
    is_chosen: bool = False


@dataclass(frozen=True, slots=True)
class Audit:
    """Whether something that has nothing to do with truth tells the classes apart.

    Attributes:
        name: what the probe may see, such as `answer length`.
        auroc: of a probe on it alone, held-out runs; None where it does not vary or was too small.
        is_red: the probe exceeds .6: detectors on these runs are confounded.
        explanation: one sentence.
    """

    name: str
    auroc: Estimate | None
    is_red: bool
    explanation: str


@dataclass(frozen=True, slots=True)
class OutcomeCount:
    """How many answers of the set had an outcome, with tools on or off."""

    tools: bool
    outcome: str
    n: int


@dataclass(frozen=True, slots=True)
class WrongRate:
    """Wrong answers, with tools on or off.

    Attributes:
        per_attempted: of the answers that assert something; per_answer: of all that were judged.
    """

    tools: bool
    n_wrong: int
    n_correct: int
    n_abstained: int
    per_attempted: float | None
    per_answer: float | None


@dataclass(frozen=True, slots=True)
class SplitReport:
    """Which runs did what: no group is in two of them.

    Attributes:
        split_hash: digest of the held-out run keys; kept on the rows of the detectors.
        held_out_templates: templates that no training or validation run has.
    """

    split_hash: str
    n_train: int
    n_validation: int
    n_test: int
    n_groups: int
    held_out_templates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ScannedFeature:
    """A feature that differs on the training runs, and what it does on held-out ones.

    Attributes:
        auroc_train: over groups, one value each; above .5 where made-up answers have more of it.
        p, q: two-sided, and of the false discovery rate; p_max: against the permutation null.
        test_auroc: of the feature alone on held-out runs; None below the gate.
        chosen_share: of the inner folds, those in which it is among the most different again.
        rate_positive, rate_negative: share of training groups in which it fires.
    """

    feature: int
    auroc_train: float
    p: float
    q: float
    p_max: float
    test_auroc: Estimate | None
    chosen_share: float
    rate_positive: float
    rate_negative: float


@dataclass(frozen=True, slots=True)
class FeatureScan:
    """Which features differ, with what chance alone would show beside it.

    Attributes:
        site: where features were read.
        n_tested: features that fire in enough training groups; n_significant: with q <= .05.
        gate_note: what the number of groups allows to say.
        largest: largest |z|; largest_by_chance: that 1 in 20 shuffles exceeds; p: of the largest.
        n_specific: features of made-up answers alone; the next two: 95% of shuffles.
        rows: the most different ones first.
    """

    site: str
    n_tested: int
    n_significant: int
    gate_note: str
    largest: float | None
    largest_by_chance: float | None
    p: float | None
    n_specific: int
    n_specific_low: float
    n_specific_high: float
    rows: tuple[ScannedFeature, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything that was measured on one set of runs and labels.

    Attributes:
        evaluation_id: digest of runs, labels and settings: the same again is not computed again.
        source: name of the source; is_toy: whether its model lives in a made-up world.
        settings: name and value of what was chosen, for people.
        detectors: candidates first, each group by AUROC.
        features: which features differ; None where too few fire.
        sentences: what may be said in words, and what may not yet.
        elapsed_s: seconds that it took.
    """

    evaluation_id: str
    source: str
    source_id: str
    set_name: str
    is_toy: bool
    settings: tuple[tuple[str, str], ...]
    split: SplitReport
    outcomes: tuple[OutcomeCount, ...]
    wrong: tuple[WrongRate, ...]
    audits: tuple[Audit, ...]
    detectors: tuple[DetectorReport, ...]
    comparisons: tuple[Comparison, ...]
    features: FeatureScan | None
    sentences: tuple[str, ...]
    elapsed_s: float

    @property
    def is_confounded(self) -> bool:
        """Whether a leakage audit is red."""
        return any(audit.is_red for audit in self.audits)
