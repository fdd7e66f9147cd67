"""Tables and figures of the documents, from the measured values.

    python -m benchmarks.report [--check]

Reads docs/results/measured/*.json, one row a value with its command, seed, commit, hardware and date. Writes the tables
of benchmarks/report/tables between `<!-- report: NAME -->` and `<!-- end of report -->` in README.md and docs/*.md, and
the figures of docs/images for light and for dark pages. `--check` writes nothing: its exit code is 1 where a file would
change. Ends with one JSON object.
"""

import argparse
import json
import sys
from pathlib import Path

from benchmarks.report import charts, method, rows, svg, tables
from sseg.errors import SSegError
from sseg.stopping import stoppable

ROOT = Path(__file__).resolve().parents[2]


def made(root: Path = ROOT) -> dict[Path, str]:
    """Every file that the report writes, and what should be in it."""
    values = rows.read(root / "docs/results/measured") | rows.of_weights(root / "sseg/weights")
    documents = [root / "README.md", *sorted((root / "docs").glob("*.md"))]
    files = {path: tables.fill(path.read_text(encoding="utf-8"), values) for path in documents}
    for theme in svg.THEMES:
        for name, chart in charts.CHARTS.items():
            files[root / f"docs/images/{name}-{theme.name}.svg"] = charts.draw(chart, values, theme)
        files[root / f"docs/images/method-{theme.name}.svg"] = method.draw(theme, root / "docs/images/method")
    return files


def changed(files: dict[Path, str]) -> list[Path]:
    """Those whose content is another one today."""
    return [path for path, text in files.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]


@stoppable("Stopped; what was written is kept.")
def main(arguments=None) -> int:
    """Write what changed, or say what would; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a file would change")
    options = parser.parse_args(arguments)
    try:
        files = made()
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    stale = changed(files)
    for path in [] if options.check else stale:
        path.write_text(files[path], encoding="utf-8")
    print(json.dumps({"files": len(files), "changed": [str(path.relative_to(ROOT)) for path in stale]}))
    return int(options.check and bool(stale))


if __name__ == "__main__":
    sys.exit(main())
