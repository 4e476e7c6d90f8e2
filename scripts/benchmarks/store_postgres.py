"""PostgreSQL 15 with a row a feature and run, as Neuronpedia keeps activations.

Invariant: the server runs in a folder of its own, reachable through a socket in it alone, as a user
without rights where this process is root, and is stopped at the end. Times are those that psql
tells of each query, with no start of a process in them.
"""

from __future__ import annotations

import itertools
import os
import pwd
import re
import shutil
import statistics
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from scripts.benchmarks.store_scale import N_CONTEXTS

BINARIES = Path("/usr/lib/postgresql/15/bin")
_QUERIES = Path(__file__).with_name("postgres")
_USERS = ("postgres", "nobody")
_TIME = re.compile(r"^Time: ([\d.]+) ms", re.MULTILINE)


def find_postgres() -> Path | None:
    """Folder of the programs of PostgreSQL 15, or None."""
    return BINARIES if (BINARIES / "initdb").is_file() else None


class PostgresServer:
    """One server in a temporary folder; `close` stops and removes it."""

    name = "PostgreSQL 15, a row a feature and run (as Neuronpedia)"

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self._folder = Path(tempfile.mkdtemp(prefix="featurebook-postgres-"))
        self._user = _user_without_rights()
        if self._user is not None:
            shutil.chown(self._folder, self._user)
        data, log = self._folder / "data", self._folder / "log"
        options = f"-k {self._folder} -c listen_addresses= -c max_wal_size=8GB"
        self._run("initdb", "-D", str(data), "-A", "trust", "-U", "bench", "--no-sync")
        self._run("pg_ctl", "-D", str(data), "-l", str(log), "-o", options, "-w", "start")

    def fill(self, tables: Iterator[pa.Table]) -> None:
        """Loads by COPY, then builds the indexes."""
        self._psql("schema.sql")
        load = (_QUERIES / "load.sql").read_text(encoding="utf-8")
        for table in tables:
            # psql reads the rows of COPY FROM STDIN from where it reads its script
            subprocess.run(
                [*self._command("psql"), *self._connection(), "-f", "-"],
                input=load + _copy_text(table),
                text=True,
                check=True,
                capture_output=True,
            )
        self._psql("index.sql")

    def time_top_ms(self, feature: int, repeats: int) -> float:
        """Median milliseconds of reading the runs where the feature fires most."""
        return self._time("top.sql", repeats, {"feature": feature, "n": N_CONTEXTS})

    def time_run_ms(self, run: int, repeats: int) -> float:
        """Median milliseconds of reading a whole run."""
        return self._time("run.sql", repeats, {"run": run})

    def size_bytes(self) -> int:
        """Of the table and its indexes."""
        return int(self._psql("size.sql").strip().splitlines()[-1])

    def close(self) -> None:
        """Stops the server and removes its folder."""
        try:
            self._run("pg_ctl", "-D", str(self._folder / "data"), "-m", "immediate", "stop")
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _time(self, query: str, repeats: int, values: dict[str, int]) -> float:
        text = (_QUERIES / query).read_text(encoding="utf-8")
        settings = [f"--set={name}={value}" for name, value in values.items()]
        done = subprocess.run(
            [*self._command("psql"), *self._connection(), *settings, "-f", "-"],
            input="\\timing on\n\\o /dev/null\n" + text * (repeats + 1),
            text=True,
            check=True,
            capture_output=True,
        )
        return statistics.median([float(ms) for ms in _TIME.findall(done.stdout)][-repeats:])

    def _psql(self, query: str) -> str:
        done = subprocess.run(
            [*self._command("psql"), *self._connection(), "-At", "-f", str(_QUERIES / query)],
            text=True,
            check=True,
            capture_output=True,
        )
        return done.stdout

    def _connection(self) -> list[str]:
        return [
            "-X",
            "-q",
            "--set=ON_ERROR_STOP=1",
            "-h",
            str(self._folder),
            "-U",
            "bench",
            "-d",
            "postgres",
        ]

    def _run(self, program: str, *arguments: str) -> None:
        subprocess.run(
            [*self._command(program), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self._folder,
        )

    def _command(self, program: str) -> list[str]:
        path = str(self._binaries / program)
        if self._user is None or program == "psql":
            return [path]
        return ["setpriv", f"--reuid={self._user}", "--clear-groups", path]


def _user_without_rights() -> str | None:
    """Whom the server runs as where this process is root: it refuses to run as root."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in _USERS if name in known)


def _copy_text(table: pa.Table) -> str:
    """Rows of a feature and run each, in COPY's text format, ended."""
    run, position, feature, value = (column.to_numpy() for column in table.columns)
    order = np.lexsort((position, feature, run))
    run, position, feature, value = run[order], position[order], feature[order], value[order]
    is_first = np.ones(len(run), np.bool_)
    is_first[1:] = (run[1:] != run[:-1]) | (feature[1:] != feature[:-1])
    edges = [*np.flatnonzero(is_first).tolist(), len(run)]
    positions, values = position.tolist(), [f"{item:.6g}" for item in value.tolist()]
    rows = [
        f"{feature[start]}\t{run[start]}\t{max(value[start:stop]):.6g}"
        f"\t{_list(positions[start:stop])}\t{_list(values[start:stop])}"
        for start, stop in itertools.pairwise(edges)
    ]
    return "\n".join([*rows, "\\.", ""])


def _list(items: Sequence[object]) -> str:
    return "{" + ",".join(map(str, items)) + "}"
