"""Two halves of whatever is measured: one to choose by, one to report, the same for ever.

Invariant: a group (a person, a prompt) is in one half by its name alone, so that no choice is ever
made on what is reported.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Half = Literal["choose", "report"]
HALVES: tuple[Half, ...] = ("choose", "report")


def half_of(group: str) -> Half:
    """The half that a group is in."""
    return "choose" if hashlib.sha256(group.encode()).digest()[0] < 128 else "report"
