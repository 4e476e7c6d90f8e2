"""Many at once: clients that read pages, ask and query one server, every answer checked.

A read fetches what a page shows (a run with its tokens, a feature with its contexts); an ask is a
question that is stored already, or a new one; a query is SQL over everything stored. One client in
eight runs only heavy SQL, which must not stall the others.
"""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.demo.examples import EXAMPLES
from scripts.benchmarks.figures import Comparison, to_side
from scripts.benchmarks.server import running_server

_ANSWER_S = 120.0
_SQL = Path(__file__).with_name("clients_sql")
_NAMES = ("Mira Torres", "Gaia Torres", "Anna Berg", "Karim Haddad", "Lena Novak", "Ivo Petrov")


@dataclass(frozen=True, slots=True)
class Traffic:
    """What many clients did in one measured time.

    Attributes:
        seconds: of each answered call, by its kind.
        errors: calls that were not answered, one line each.
        wrong: answers that contradict earlier ones or themselves, one line each.
    """

    seconds: dict[str, list[float]]
    errors: list[str]
    wrong: list[str]


@dataclass(slots=True)
class _Known:
    """What any client has learned so far: runs never change, and their number never falls."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    runs: dict[str, dict[str, object]] = field(default_factory=dict)


def measure_clients(work_dir: Path, duration_s: float, n_clients: int) -> tuple[Comparison, ...]:
    """Medians of each kind of call while all clients run, beside the same calls of one client."""
    with running_server(work_dir) as base:
        alone = run_clients(base, duration_s / 3, 1)
        together = run_clients(base, duration_s, n_clients)
    faults = len(alone.errors + alone.wrong + together.errors + together.wrong)
    return tuple(
        Comparison(
            title=f"{kind}, {n_clients} clients at once (demo, toy)",
            sides=(
                to_side("one client", alone.seconds[kind], "s"),
                to_side(f"{n_clients} clients", together.seconds[kind], "s"),
            ),
            ratio=to_side("", together.seconds[kind], "s").median
            / to_side("", alone.seconds[kind], "s").median,
            ratio_of="all / one",
            aim=f"no error and no wrong answer ({faults} of "
            f"{sum(map(len, together.seconds.values())):,})",
            is_reached=faults == 0,
        )
        for kind in sorted(set(alone.seconds) & set(together.seconds))
    )


def run_clients(base: str, duration_s: float, n_clients: int) -> Traffic:
    """Runs the clients against a server for a time.

    Args:
        base: address of the server.
        duration_s: after which no client begins another call.
        n_clients: threads, each a client of its own.
    """
    traffic = Traffic(defaultdict(list), [], [])
    known = _Known()
    for example in EXAMPLES:
        _ask(base, known, example.prompt, traffic)
    end = time.monotonic() + duration_s
    clients = [
        threading.Thread(target=_client, args=(base, index, end, known, traffic))
        for index in range(n_clients)
    ]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return traffic


def _client(base: str, index: int, end: float, known: _Known, traffic: Traffic) -> None:
    choose = random.Random(index)
    n_asked = 0
    while time.monotonic() < end:
        kind = (
            "heavy SQL"
            if index % 8 == 7
            else choose.choice(("run", "run", "feature", "ask", "new ask", "SQL"))
        )
        started = time.perf_counter()
        try:
            if kind == "run":
                _read_run(base, known, choose, traffic)
            elif kind == "feature":
                _get(base, f"/api/features/demo/{choose.randrange(1024)}")
            elif kind == "ask":
                _ask(base, known, choose.choice(EXAMPLES).prompt, traffic)
            elif kind == "new ask":
                n_asked += 1
                name = choose.choice(_NAMES)
                _ask(base, known, f"Where does {name} work? {index} {n_asked}", traffic)
            elif kind == "SQL":
                _count_runs(base, known, traffic)
            else:
                _query(base, "heavy")
        except urllib.error.HTTPError as error:
            # a query that runs into its limit is refused, as it should be
            if kind != "heavy SQL" or error.code != 400:
                traffic.errors.append(f"{kind}: {error.code} {error.read()[:200]!r}")
        except OSError as error:
            traffic.errors.append(f"{kind}: {error}")
        else:
            traffic.seconds[kind].append(time.perf_counter() - started)


def _read_run(base: str, known: _Known, choose: random.Random, traffic: Traffic) -> None:
    with known.lock:
        key = choose.choice(sorted(known.runs))
    _check(known, _get(base, f"/api/runs/{key}"), traffic)


def _ask(base: str, known: _Known, prompt: str, traffic: Traffic) -> None:
    body = json.dumps({"prompt": prompt, "source": "demo", "max_new_tokens": 24}).encode()
    request = urllib.request.Request(
        f"{base}/api/runs", body, {"Content-Type": "application/json"}, method="POST"
    )
    with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
        run = dict(json.load(answer))
    if run["prompt"] != prompt:
        traffic.wrong.append(f"asked {prompt!r}, answered {run['prompt']!r}")
    _check(known, run, traffic)


def _check(known: _Known, run: dict[str, object], traffic: Traffic) -> None:
    """A run is the same whenever and by whomever it is read."""
    lasting = {name: run[name] for name in ("prompt", "response", "tokens", "finish_reason")}
    with known.lock:
        before = known.runs.setdefault(str(run["run_key"]), lasting)
    if before != lasting:
        traffic.wrong.append(f"run {run['run_key']} has changed")


def _count_runs(base: str, known: _Known, traffic: Traffic) -> None:
    with known.lock:
        at_least = len(known.runs)
    answer = _query(base, "count")
    [[n_runs, n_tokens, n_told]] = answer["rows"]
    if n_runs < at_least or n_tokens != n_told:
        traffic.wrong.append(f"{n_runs} runs of {at_least}, {n_tokens} tokens of {n_told}")


def _query(base: str, name: str) -> dict[str, Any]:
    sql = (_SQL / f"{name}.sql").read_text(encoding="utf-8")
    return _get(base, "/api/sql?" + urllib.parse.urlencode({"q": sql}))


def _get(base: str, path: str) -> dict[str, Any]:
    with urllib.request.urlopen(base + path, timeout=_ANSWER_S) as answer:
        return dict(json.load(answer))
