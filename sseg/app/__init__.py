"""The browser page. `main` is what `python app.py` runs, `serve` what `sseg app` does."""

import argparse
import logging
import os
import sys
from importlib.util import find_spec

from sseg.app import starting
from sseg.errors import SSegError
from sseg.stopping import ends_at_once, stoppable


@stoppable("Stopped.")
def main(argv=None) -> int:
    """Serve the page until Ctrl-C. Returns the exit code: 2 after one sentence if it cannot start."""
    parser = argparse.ArgumentParser(prog="app.py", description="Segment pictures by free text in a browser page.")
    add_options(parser)
    options = parser.parse_args(argv)
    try:
        return serve(options)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2


def add_options(parser: argparse.ArgumentParser) -> None:
    """What can be said about a page: its weights, and where it listens."""
    parser.add_argument("--weights", help="photos, mini, a folder, or owner/name@revision (default: photos if bundled, "
                        "else mini)")  # fmt: skip
    parser.add_argument("--port", type=int, default=7860, help="default: 7860")
    parser.add_argument("--host", default=os.environ.get("GRADIO_SERVER_NAME", "127.0.0.1"), help="default: 127.0.0.1")
    parser.add_argument("--allowed-host", action="append", default=[], metavar="NAME",
                        help="also answer under this name, as behind a proxy; can be given again")  # fmt: skip


def serve(arguments) -> int:
    """Load weights, serve the page until Ctrl-C; SSegError if it cannot start."""
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    if not find_spec("gradio"):
        raise SSegError('The page needs gradio, which is not installed: pip install "sseg[app]".')
    with ends_at_once("Stopped."):
        starting.keep_files_apart()
        from sseg import checkpoint  # late: `--help` and a wrong option answer at once, and gradio looks where files go
        from sseg.app import weights
        from sseg.app.build import build, options

        wanted = options(arguments.host, arguments.port, arguments.allowed_host)
        name = checkpoint.default() if arguments.weights is None else arguments.weights
        segmenter, live = weights.load(name)
        starting.check_place(arguments.host, arguments.port)
        page = build(segmenter, live)
    page.launch(**wanted)
    return 0
