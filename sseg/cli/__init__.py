"""The command line: python -m sseg segment | pseudo-masks | compare | info | app."""

import argparse
import sys

from sseg.cli import app, compare, info, pseudo_masks, segment
from sseg.errors import SSegError
from sseg.stopping import stoppable

COMMANDS = (segment, pseudo_masks, compare, info, app)


@stoppable("Stopped; what was written is kept.")
def main(arguments: list[str] | None = None) -> int:
    """Run a command; returns the exit code: 0, or 2 after a one-sentence error on stderr."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    except BrokenPipeError:  # `| head` has seen enough
        sys.stderr.close()
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sseg", description="Segment pictures by words.")
    commands = parser.add_subparsers(required=True, metavar="command")
    for command in COMMANDS:
        command.add(commands)
    return parser
