"""`python -m dashboard`: serves as `streamlit run dashboard/server.py` does, and ends quietly.

Invariant: options are Streamlit's own; Ctrl-C is how a person ends the server, so it is no failure.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from streamlit.web import cli

_SERVER = Path(__file__).with_name("server.py")


def main() -> None:
    """Runs the server until it is told to stop. Exit status 0 after Ctrl-C."""
    try:
        cli.main(["run", str(_SERVER), *sys.argv[1:]], standalone_mode=False)
    except click.Abort:
        click.echo("Stopped.", err=True)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
