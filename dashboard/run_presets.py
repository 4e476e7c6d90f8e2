"""Sets of runs that are often wanted, as filters with names. Pure data.

Invariant: every filter is one that store/filters.py reads as a filter of runs.
"""

from __future__ import annotations

RUN_PRESETS: dict[str, str] = {
    "all runs": "",
    "made up": "verdict:made_up",
    "wrong": "verdict:wrong",
    "honest": "verdict:honest",
    "abstained": "verdict:abstained",
    "tools offered": "tools:yes",
    "no tools": "tools:no",
    "steered": "steered:yes",
    "not steered": "steered:no",
}
COHORT_PRESETS: dict[str, tuple[str, str]] = {
    "made up against honest": (
        "verdict:made_up AND tools:no AND steered:no",
        "verdict:honest AND tools:no AND steered:no",
    ),
    "made up against abstained": ("verdict:made_up AND tools:no", "verdict:abstained AND tools:no"),
    "tools offered against none": (
        "tools:yes AND steered:no",
        "tools:no AND steered:no AND kind:generation",
    ),
    "steered against not": ("steered:yes", "steered:no AND kind:generation"),
    "two templates": ('prompt:"Which language"', 'prompt:"Which city"'),
}


def preset_name(where: str) -> str | None:
    """The name of a filter, if it is one of these."""
    return next((name for name, value in RUN_PRESETS.items() if value == where), None)
