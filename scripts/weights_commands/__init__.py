"""The subcommands of scripts/weights.py, one a module.

Each module has `add_parser(subparsers)`, which adds its parser with `run=run` as a default, and
`run(options, context) -> int`, which returns the exit status.
"""
