"""`sseg info`: what weights are."""

import json


def add(commands) -> None:
    """Add the command to the parser."""
    info = commands.add_parser("info", help="what weights are")
    info.add_argument("weights", metavar="WEIGHTS", nargs="?", help="default: photos if bundled, else mini")
    info.add_argument("--json", action="store_true", help="as one JSON object")
    info.set_defaults(run=run)


def run(options) -> int:
    from sseg.loading import load

    info = load(options.weights, "cpu").info()
    if options.json:
        print(json.dumps(info))
    else:
        for key, value in info.items():
            print(f"{key.replace('_', ' '):<16} {value}")
    return 0
