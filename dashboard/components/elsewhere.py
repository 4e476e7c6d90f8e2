"""How to read a query's rows in a program: its address, and two lines each for what people use.

Invariant: text only; the address is given. The lines are those of the README, which a test runs.
"""

from __future__ import annotations

import streamlit as st

_LINES = (
    """import pandas
rows = pandas.read_parquet("{address}&format=parquet")""",
    """import polars, urllib.request
rows = polars.read_ipc_stream(urllib.request.urlopen("{address}&format=arrow").read())""",
    """import duckdb, pyarrow, urllib.request
rows = duckdb.from_arrow(
    pyarrow.ipc.open_stream(urllib.request.urlopen("{address}&format=arrow")).read_all())""",
)


def elsewhere(origin: str, query: str) -> None:
    """Draws the lines.

    Args:
        origin: such as `http://127.0.0.1:8501`.
        query: the encoded parameters of `/api/sql`, without its format.
    """
    st.caption("Up to 100,000 rows for a program. A server with a token asks for it in a header.")
    for lines in _LINES:
        st.code(lines.format(address=f"{origin}/api/sql?{query}&limit=100000"), "python")
