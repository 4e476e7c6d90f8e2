"""Streamlit's sign-in in front of every page, where it is configured.

Invariant: with `[auth]` in the secrets, no page runs for a person who is not signed in.
"""

from __future__ import annotations

import streamlit as st

from dashboard.secrets_file import secret_names


def require_sign_in() -> None:
    """Stops the page with a button to sign in, unless that is done or nothing asks for it."""
    if "auth" not in secret_names() or st.user.is_logged_in:
        return
    st.title("Who are you?", anchor=False)
    st.button("Sign in", type="primary", icon=":material/login:", on_click=st.login)
    st.stop()
