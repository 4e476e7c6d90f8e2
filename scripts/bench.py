"""Runs the benchmarks: medians and ratios, every figure beside what it is compared with."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from engine.errors import EngineError
from scripts.benchmarks.figures import Comparison
from store.errors import StoreError

NAMES = ("chat", "clients", "features", "generation", "memo", "pages", "steering", "store")
SHAPES = ("mistral-small-24b", "tiny")
"""Sizes that `engine` and `steering` build of random weights; `engine` runs where it is named."""
FEWEST_FEATURES = 1024
N_CLIENTS = 16
CLIENTS_S = 30.0
"""For how long they all call at once."""
_PLAIN_WIDTH = 160
"""Columns of the table where it goes to a file, which has no width of its own."""


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "names",
        nargs="*",
        metavar="NAME",
        help=f"of {', '.join(NAMES)}; all of these if none; or engine",
    )
    parser.add_argument(
        "--shape", choices=SHAPES, default="tiny", help="sizes that engine and steering measure"
    )
    parser.add_argument(
        "--features", type=int, help="features of engine's SAE (default: as the shape has)"
    )
    parser.add_argument(
        "--repeats", type=int, default=7, help="measured rounds of each (default 7)"
    )
    parser.add_argument(
        "--tokens", type=int, default=96, help="tokens a round generates (default 96)"
    )
    parser.add_argument(
        "--activations",
        type=int,
        default=5_000_000,
        help="activations that the store is filled with (default 5000000)",
    )
    parser.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1, ... (default cpu)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    if set(options.names) - {*NAMES, "engine"}:
        parser.error(f"NAME is one of {', '.join(NAMES)}, engine")
    if (
        min(options.repeats, options.tokens, options.activations) < 1
        or (options.features or FEWEST_FEATURES) < FEWEST_FEATURES
    ):
        parser.error(f"numbers are above 0, --features at least {FEWEST_FEATURES}")
    console = Console(stderr=options.json)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    comparisons: list[Comparison] = []
    facts: dict[str, object] = {}
    with tempfile.TemporaryDirectory(prefix="featurebook-bench-") as folder:
        try:
            for name in options.names or NAMES:
                console.print(f"measuring {name} ...", style="dim")
                measured, about = _measure(name, Path(folder), options, console)
                comparisons += measured
                facts |= about
        except (EngineError, StoreError) as error:
            print(f"error: {error.message} ({error.hint})", file=sys.stderr)
            return 1
    if options.json:
        figures = [asdict(comparison) for comparison in comparisons]
        print(json.dumps({"machine": _machine(), "figures": figures} | facts))
    else:
        console.print(_table(comparisons))
        if facts:
            console.print_json(json.dumps(facts))
        console.print(", ".join(f"{key} {value}" for key, value in _machine().items()))
    return 0


def _measure(
    name: str, work_dir: Path, options: argparse.Namespace, console: Console
) -> tuple[tuple[Comparison, ...], dict[str, object]]:
    """What is compared, and further facts by name."""
    # imported one by one: pages are measured in a process without torch
    if name == "engine":
        from scripts.benchmarks.engine_shape import measure_engine

        comparisons, facts = measure_engine(
            work_dir,
            options.repeats,
            options.tokens,
            options.device,
            options.shape,
            options.features,
        )
        return comparisons, {"engine": asdict(facts)}
    if name == "chat":
        from scripts.benchmarks.chat import measure_chat

        return measure_chat(work_dir, options.device)
    if name == "generation":
        from scripts.benchmarks.generation import measure_generation

        return measure_generation(work_dir, options.repeats, options.tokens, options.device), {}
    if name == "features":
        from scripts.benchmarks.features import measure_features

        comparisons, details = measure_features(work_dir, options.activations, options.repeats)
        return comparisons, {"features": details}
    if name == "memo":
        from scripts.benchmarks.memo import measure_memo

        return measure_memo(work_dir, options.repeats, options.device), {}
    if name == "steering":
        from scripts.benchmarks.steering import measure_steering

        return measure_steering(
            options.repeats, options.tokens, options.device, options.shape, options.features
        ), {}
    if name == "clients":
        from scripts.benchmarks.clients import measure_clients

        return measure_clients(work_dir, CLIENTS_S, N_CLIENTS), {}
    if name == "store":
        from scripts.benchmarks.store_report import measure_store_and_peers

        report = measure_store_and_peers(work_dir, options.activations, options.repeats)
        for sentence in report.skipped:
            console.print(sentence, style="dim")
        return report.comparisons, report.details
    from scripts.benchmarks.pages import measure_pages

    return measure_pages(work_dir, options.repeats), {}


def _machine() -> dict[str, object]:
    return {
        "cpus": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
    }


def _table(comparisons: list[Comparison]) -> Table:
    table = Table(title="Medians (smallest to largest), sides measured in turns in this run")
    for column in ("comparison", "side", "median", "spread", "ratio", "aim", ""):
        table.add_column(column, overflow="fold")
    for item in comparisons:
        for index, side in enumerate(item.sides):
            ratio = "" if item.ratio is None else f"{item.ratio:.2f} ({item.ratio_of})"
            table.add_row(
                item.title if index == 0 else "",
                side.name,
                f"{side.median:.4g} {side.unit}",
                f"{side.low:.4g} to {side.high:.4g}",
                ratio if index == 0 else "",
                item.aim if index == 0 else "",
                ("reached" if item.is_reached else "missed") if index == 0 else "",
                end_section=index == len(item.sides) - 1,
            )
    return table


if __name__ == "__main__":
    sys.exit(main())
