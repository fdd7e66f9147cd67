"""`sseg app`: serve the page, as `python app.py` does in a checkout."""

import os

from sseg.app import add_options, serve


def add(commands) -> None:
    """Add the command to the parser."""
    app = commands.add_parser("app", help="the page in a browser")
    add_options(app)
    app.set_defaults(run=run)


def run(options) -> int:
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported: nothing leaves this machine
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    return serve(options)
