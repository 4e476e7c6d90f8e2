"""The one style sheet of all pages: small paddings, on a desk and on a phone.

Invariant: sizes only; colours and fonts come from the theme in .streamlit/config.toml.
"""

from __future__ import annotations

import streamlit as st

_STYLE = """<style>
.stMainBlockContainer { padding-left: 1.6rem; padding-right: 1.6rem; }
.stMainBlockContainer [data-testid="stVerticalBlock"] { gap: 0.55rem; }
.stMainBlockContainer h1 { padding: 0; }
[data-testid="stCaptionContainer"] { color: inherit; opacity: 0.78; }
[class*="st-key-dense-"][data-testid="stVerticalBlock"] { gap: 0; }
[class*="st-key-dense-"] button { min-height: 1.75rem; padding-top: 0; padding-bottom: 0; }
.st-key-result [data-testid="stElementToolbarButton"]:has([aria-label="Download as CSV"]) {
  display: none;
}
@media (max-width: 640px) { .stMainBlockContainer { padding-left: 0.7rem; padding-right: 0.7rem; } }
</style>"""


def page_style() -> None:
    """Applies it; draws nothing."""
    st.html(_STYLE)
