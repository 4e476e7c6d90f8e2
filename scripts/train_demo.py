"""Make the embedded demo source again from a seed, or measure the committed one.

Invariant: the weights folder is replaced whole when everything is done, or left as it was.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from engine.demo import WEIGHTS_DIR
from engine.demo.world import DEFAULT_SEED


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        0 done, 1 failed (one line on standard error), 2 usage (raised by argparse).
    """
    parser = _parser()
    args = parser.parse_args(argv)
    if args.json and not args.check:
        parser.error("--json goes with --check")
    try:
        if args.check:
            _check(args.out, args.questions, as_json=args.json)
        else:
            _train(args)
    except KeyboardInterrupt:
        return _fail("interrupted; the weights are as they were before")
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        return _fail(f"{type(error).__name__}: {error}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog="Training takes about 20 minutes on two cores that have nothing else to do.",
    )
    add = parser.add_argument
    add("--seed", type=int, default=DEFAULT_SEED, help="seed of world and weights (%(default)s)")
    add("--out", type=Path, default=WEIGHTS_DIR, metavar="DIR", help="folder (the committed one)")
    add("--steps", type=_positive, help="optimizer steps of the model; the SAE's in proportion")
    add("--threads", type=_positive, default=2, help="threads of torch (%(default)s)")
    add("--questions", type=_positive, default=1_200, help="questions a figure (%(default)s)")
    add("--check", action="store_true", help="measure the folder instead of training")
    add("--json", action="store_true", help="with --check: one JSON object of figures and counts")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return value


def _train(args: argparse.Namespace) -> None:
    import torch
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from transformers.utils import logging as transformers_logging

    from engine.demo.building import BuildConfig, build, scale
    from engine.demo.training import OnStep

    torch.set_num_threads(args.threads)
    transformers_logging.disable_progress_bar()
    config = BuildConfig(seed=args.seed, questions=args.questions)
    if args.steps is not None:
        config = scale(config, args.steps)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as bar:

        def begin(stage: str) -> OnStep:
            task = bar.add_task(stage, total=None, loss=float("nan"))

            def on_step(done: int, total: int, loss: float) -> None:
                bar.update(task, completed=done, total=total, loss=loss)

            return on_step

        figures = build(args.out, config, begin)
    for figure in figures:
        print(f"{figure.key:32} {figure.value:10.4f}  (toy, n = {figure.n:,})")


def _check(folder: Path, questions: int, *, as_json: bool) -> None:
    import torch
    from transformers.utils import logging as transformers_logging

    from engine.demo.building import check

    torch.set_num_threads(2)
    transformers_logging.disable_progress_bar()
    figures = check(folder, questions)
    if as_json:
        values = {figure.key: figure.value for figure in figures}
        print(json.dumps({**values, "n": {figure.key: figure.n for figure in figures}}, indent=2))
        return
    for figure in figures:
        print(f"{figure.key:32} {figure.value:10.4f}  (toy, n = {figure.n:,}) {figure.meaning}")


def _fail(message: str) -> int:
    print(f"train_demo: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
