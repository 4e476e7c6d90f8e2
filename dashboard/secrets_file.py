"""Which sections the secrets of this server have.

Invariant: no value of a secret leaves this module, and a server without secrets is not an error.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st


def secret_names() -> frozenset[str]:
    """Names of the sections of secrets.toml; none where there is no such file."""
    if not any(Path(file).is_file() for file in st.get_option("secrets.files")):
        return frozenset()
    return frozenset(st.secrets)
