"""The router: page settings, navigation, and the one place where a page's errors are caught.

Invariant: a router and nothing else; no page's content, no fetching, no state.
"""

from __future__ import annotations

import streamlit as st

from dashboard.components.boundary import error_boundary
from dashboard.components.page_style import page_style
from dashboard.sign_in import require_sign_in

st.set_page_config(
    page_title="Featurebook",
    page_icon="🔬",
    layout="wide",
    menu_items={"About": "Featurebook: every feature of every token that your team asked about."},
)
page = st.navigation(
    [
        st.Page("views/home.py", title="Home", icon=":material/home:", default=True),
        st.Page("views/ask.py", title="Ask", icon=":material/chat:", url_path="ask"),
        st.Page("views/feature.py", title="Feature", icon=":material/grain:", url_path="feature"),
        st.Page("views/features.py", title="Features", icon=":material/search:"),
        st.Page("views/compare.py", title="Compare", icon=":material/compare_arrows:"),
        st.Page("views/steer.py", title="Steer", icon=":material/tune:", url_path="steer"),
        st.Page(
            "views/confabulation.py",
            title="Confabulation",
            icon=":material/fact_check:",
            url_path="confabulation",
        ),
        st.Page("views/sql.py", title="SQL", icon=":material/database:", url_path="sql"),
        st.Page("views/models.py", title="Models", icon=":material/memory:", url_path="models"),
    ],
    position="top",
)
page_style()
with error_boundary():
    require_sign_in()
    page.run()
