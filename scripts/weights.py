"""The weights of the sources: what is on this machine, fetching, checking, linking, removing."""

from __future__ import annotations

import argparse
import os
import sys

from pydantic import ValidationError

from engine.errors import EngineError, TransferCancelled
from scripts.weights_commands import adopt, clear, download, link, status, verify
from scripts.weights_commands.context import RunCommand, make_context

_COMMANDS = (status, download, verify, link, clear, adopt)


def main(arguments: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed with one line on standard error, 2 usage."""
    options = _parser().parse_args(arguments)
    run: RunCommand = options.run
    try:
        context = make_context()
        if context.problem is not None:
            print(f"warning: {context.problem}", file=sys.stderr)
        exit_status = run(options, context)
        sys.stdout.flush()
        return exit_status
    except EngineError as error:
        return _fail(error.message, error.hint)
    except ValidationError as error:
        wrong = error.errors()[0]
        name = ".".join(str(part) for part in wrong["loc"]).upper()
        return _fail(
            f"The setting {name} is {wrong['input']!r}: {wrong['msg']}.",
            "Correct it in the environment or in .env.",
        )
    except BrokenPipeError:
        # the reader has seen enough; Python must not complain while it shuts down
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if run is status.run:
            return 0
        return _fail(
            "Nobody reads the output any more; the command stopped there.", "Run it again."
        )
    except (KeyboardInterrupt, TransferCancelled):
        return _fail("Cancelled; what was finished before is kept.", "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in _COMMANDS:
        command.add_parser(subparsers)
    return parser


def _fail(message: str, hint: str) -> int:
    print(f"error: {message}{f' ({hint})' if hint else ''}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
