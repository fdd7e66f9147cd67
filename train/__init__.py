"""Everything that makes and judges weights."""

import sys


def _one_line(kind, *rest):
    """Ctrl-C while a command is still importing what it needs, seconds before its own `stoppable` can say so."""
    print("Stopped.", file=sys.stderr) if issubclass(kind, KeyboardInterrupt) else sys.__excepthook__(kind, *rest)


if sys.argv[0] == "-m":  # what Python has there while `python -m train.NAME` is looked for
    sys.excepthook = _one_line
