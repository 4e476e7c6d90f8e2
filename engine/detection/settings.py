"""What a training of detectors is asked to do.

Invariant: equal settings on equal runs and labels are one evaluation; a value outside of what is
allowed is refused when the settings are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from engine.detection.models import SITE_TITLES, Site
from engine.errors import RequestError

LabelMethod = Literal["verdict", "tool_log", "world", "gold", "nli", "judge", "person"]
ToolChoice = Literal["off", "on", "both"]
TopicChoice = Literal["balanced", "all"]

DEFAULT_SITES: tuple[Site, ...] = ("prompt_last", "before_value", "generated_max")


@dataclass(frozen=True, slots=True)
class DetectionSettings:
    """Choices of one evaluation.

    Attributes:
        label_method: whose judgements are the labels; `verdict` takes the strongest of each run.
        tools: answers with tools off, on, or both; both lets the tools themselves tell.
        topics: `balanced` leaves out topics of which nearly all answers are right, or made up: on
            them, detectors learn what was asked; `all` keeps every one.
        sites: where features are read.
        with_residuals: whether the model is asked again for what dense probes need.
        with_p_true: whether the model is asked whether its answers are true.
        shuffle_seed: labels are shuffled among groups first: shows what chance alone reaches.

    Raises:
        RequestError: for a value that is not allowed.
    """

    label_method: LabelMethod = "verdict"
    tools: ToolChoice = "off"
    topics: TopicChoice = "balanced"
    sites: tuple[Site, ...] = DEFAULT_SITES
    with_residuals: bool = True
    with_p_true: bool = True
    shuffle_seed: int | None = None

    def __post_init__(self) -> None:
        allowed: dict[str, tuple[str, ...]] = {
            "label_method": get_args(LabelMethod),
            "tools": get_args(ToolChoice),
            "topics": get_args(TopicChoice),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise RequestError(
                    f"{getattr(self, name)!r} is not a value of {name}.",
                    f"Use one of {', '.join(values)}.",
                )
        unknown = [site for site in self.sites if site not in SITE_TITLES]
        if unknown or not self.sites:
            raise RequestError(
                f"{unknown[0]!r} is not a site." if unknown else "No site was chosen.",
                f"Use some of {', '.join(SITE_TITLES)}.",
            )

    def described(self) -> tuple[tuple[str, str], ...]:
        """Name and value of each, for people."""
        yes = {True: "yes", False: "no"}
        return (
            ("labels", self.label_method),
            ("tools", self.tools),
            ("topics", self.topics),
            ("sites", ", ".join(SITE_TITLES[site] for site in self.sites)),
            ("residuals", yes[self.with_residuals]),
            ("P(True)", yes[self.with_p_true]),
            ("shuffled", "no" if self.shuffle_seed is None else f"seed {self.shuffle_seed}"),
        )
