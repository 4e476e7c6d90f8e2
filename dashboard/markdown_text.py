"""Text of people where Streamlit would read Markdown, as in labels of buttons. Pure.

Invariant: what comes back is shown letter by letter as it was given.
"""

from __future__ import annotations

_SIGNS = frozenset("\\`*_{}[]()<>#+-.!|~$:")


def as_plain(text: str) -> str:
    """The text with every sign that Markdown knows escaped, on one line."""
    return "".join(f"\\{sign}" if sign in _SIGNS else sign for sign in " ".join(text.split()))
