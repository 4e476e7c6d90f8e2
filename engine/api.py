"""What callers may use of the engine: the engine itself, its labs, and what they return.

Invariant: names only; no tensor and no torch in any signature, and importing this module does not
import torch.
"""

from __future__ import annotations

from engine.agreement import MIN_ITEMS, Agreement
from engine.catalog import SourceInfo
from engine.cohort_work import CohortComparison, CohortRequest
from engine.cohorts.comparison import CohortEffects, CohortRow
from engine.cohorts.permutation import PermutationNull, SetDifference
from engine.concepts.concept_lab import ConceptInfo, LayerRow
from engine.concepts.pairs import Pair, PairsError, PairSet
from engine.concepts.vector_files import ExportedFile, VectorFileError
from engine.confabulation_lab import PERSON_OUTCOMES, ConfabulationLab, ImportedSet, OutcomeCounts
from engine.cross_reading import CrossReading
from engine.definitions import Claims, Dtype, SaeActivation, SaeOverrides, SourceDefinition
from engine.detection.detector_lab import DetectorLab
from engine.detection.live import (
    DetectorCard,
    EvaluationRow,
    FeatureContribution,
    LiveScore,
    Threshold,
    TokenContribution,
)
from engine.detection.models import SITE_TITLES, Site
from engine.detection.reports import (
    UNSEEN,
    WHOLE,
    Audit,
    Comparison,
    Curves,
    DetectorReport,
    Estimate,
    Evaluation,
    FeatureScan,
    OutcomeCount,
    Point,
    ReliabilityBin,
    ScannedFeature,
    SliceResult,
    SplitReport,
    WrongRate,
)
from engine.detection.settings import DetectionSettings, LabelMethod
from engine.facade import Engine
from engine.feature_directions import FeatureDirections
from engine.feature_lab import FeatureLab
from engine.feature_maths.feature_map import FeatureMap
from engine.feature_maths.logit_lens import LogitBin, LogitLens, TokenLogit
from engine.feature_maths.neighbours import Neighbour
from engine.feature_maths.token_odds import MetadataOdds, NgramOdds, TokenOdds
from engine.filling import FillReport, FillRequest
from engine.fires_on import FiresOn
from engine.hosted_label_work import HostedOffer
from engine.jobs import (
    ACTIVE_STATES,
    EngineState,
    EngineStatus,
    JobFailure,
    JobState,
    JobView,
    LiveToken,
    RunRequest,
)
from engine.judge_offer import JudgeOffer
from engine.judging import JudgeRequest
from engine.label_work import LabelPlan
from engine.memory import DeviceMemory, MemoryEstimate
from engine.question_sets import BuiltSet
from engine.registry import SaeRelease
from engine.run_comparison import AlignedBlock, FeatureDifference, RunComparison
from engine.settings import EngineSettings
from engine.source_entries import InvalidSourceError
from engine.steering_lab import SteeringLab
from engine.sweeps.report import SweepReport
from engine.sweeps.spec import Arm, Fact, SweepSpec, SweepSpecError
from engine.tasks import TaskProgress, TaskResult, Tasks, TaskView
from engine.tools_effect import ToolsCell, ToolsEffect
from engine.transfers import TransferKind, TransferState, TransferView
from engine.weights.parts import (
    Check,
    Component,
    ComponentStatus,
    DownloadPlan,
    FileFault,
    PartState,
    PlannedFile,
    SourceWeights,
    TransferProgress,
    VerifyReport,
)

__all__ = [
    "ACTIVE_STATES",
    "MIN_ITEMS",
    "PERSON_OUTCOMES",
    "SITE_TITLES",
    "UNSEEN",
    "WHOLE",
    "Agreement",
    "AlignedBlock",
    "Arm",
    "Audit",
    "BuiltSet",
    "Check",
    "Claims",
    "CohortComparison",
    "CohortEffects",
    "CohortRequest",
    "CohortRow",
    "Comparison",
    "Component",
    "ComponentStatus",
    "ConceptInfo",
    "ConfabulationLab",
    "CrossReading",
    "Curves",
    "DetectionSettings",
    "DetectorCard",
    "DetectorLab",
    "DetectorReport",
    "DeviceMemory",
    "DownloadPlan",
    "Dtype",
    "Engine",
    "EngineSettings",
    "EngineState",
    "EngineStatus",
    "Estimate",
    "Evaluation",
    "EvaluationRow",
    "ExportedFile",
    "Fact",
    "FeatureContribution",
    "FeatureDifference",
    "FeatureDirections",
    "FeatureLab",
    "FeatureMap",
    "FeatureScan",
    "FileFault",
    "FillReport",
    "FillRequest",
    "FiresOn",
    "HostedOffer",
    "ImportedSet",
    "InvalidSourceError",
    "JobFailure",
    "JobState",
    "JobView",
    "JudgeOffer",
    "JudgeRequest",
    "LabelMethod",
    "LabelPlan",
    "LayerRow",
    "LiveScore",
    "LiveToken",
    "LogitBin",
    "LogitLens",
    "MemoryEstimate",
    "MetadataOdds",
    "Neighbour",
    "NgramOdds",
    "OutcomeCount",
    "OutcomeCounts",
    "Pair",
    "PairSet",
    "PairsError",
    "PartState",
    "PermutationNull",
    "PlannedFile",
    "Point",
    "ReliabilityBin",
    "RunComparison",
    "RunRequest",
    "SaeActivation",
    "SaeOverrides",
    "SaeRelease",
    "ScannedFeature",
    "SetDifference",
    "Site",
    "SliceResult",
    "SourceDefinition",
    "SourceInfo",
    "SourceWeights",
    "SplitReport",
    "SteeringLab",
    "SweepReport",
    "SweepSpec",
    "SweepSpecError",
    "TaskProgress",
    "TaskResult",
    "TaskView",
    "Tasks",
    "Threshold",
    "TokenContribution",
    "TokenLogit",
    "TokenOdds",
    "ToolsCell",
    "ToolsEffect",
    "TransferKind",
    "TransferProgress",
    "TransferState",
    "TransferView",
    "VectorFileError",
    "VerifyReport",
    "WrongRate",
]
