"""How to read a query's rows in a program: its address, and two lines each for what people use.

Invariant: text only; the address is given.
"""

from __future__ import annotations

import streamlit as st


def elsewhere(origin: str, query: str) -> None:
    """Draws the lines.

    Args:
        origin: such as `http://127.0.0.1:8501`.
        query: the encoded parameters of `/api/sql`, without its format.
    """
    address = f"{origin}/api/sql?{query}"
    st.caption("Up to 100,000 rows, read by a program. A server with a token asks for it.")
    st.code(f'import pandas\nrows = pandas.read_parquet("{address}&format=parquet")', "python")
    st.code(f'import polars\nrows = polars.read_parquet("{address}&format=parquet")', "python")
    st.code(
        "import duckdb, pyarrow as pa, urllib.request\n"
        f'rows = pa.ipc.open_stream(urllib.request.urlopen("{address}&format=arrow")).read_all()\n'
        'duckdb.sql("SELECT count(*) FROM rows")',
        "python",
    )
