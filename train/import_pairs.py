"""Images and captions in any usual form -> image-text tars, which training reads.

    python -m train.import_pairs SOURCE OUT [--images FOLDER] [--image COLUMN] [--caption COLUMN] [--json]

SOURCE is a folder with KEY.jpg beside KEY.txt or KEY.json; a CSV, TSV, JSONL or parquet table, or a folder with one
(`metadata.jsonl`); COCO's captions JSON; Flickr's captions.txt; tars, packed or not, or a folder of them (img2dataset).
What cannot be taken is left out, counted by reason and named.
"""

import argparse
import json
import sys
from pathlib import Path

from sseg.errors import SSegError
from sseg.stopping import stoppable
from train.importing.forms import read_source
from train.importing.write import Report, write

NAMED = 5  # names of each reason that the printed report has


@stoppable("Stopped; nothing was written.")
def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.import_pairs", description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="a folder, a table, COCO's captions, or a tar")
    parser.add_argument("out", type=Path, help="folder of the tars")
    parser.add_argument("--images", type=Path, help="folder of the images that a table names")
    parser.add_argument("--image", help="the table's column of images")
    parser.add_argument("--caption", help="the table's column of captions")
    parser.add_argument("--per-tar", type=int, default=1000, help="images of a tar")
    parser.add_argument("--json", action="store_true", help="the whole report as JSON on stdout")
    options = parser.parse_args(arguments)
    try:
        samples = read_source(options.source, options.images, options.image, options.caption, say)
        report = write(samples, options.out, options.per_tar)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    print(json.dumps(report.as_dict(), ensure_ascii=False) if options.json else as_text(report))
    return 0


def say(text: str) -> None:
    """To the person who waits."""
    print(text, file=sys.stderr)


def as_text(report: Report) -> str:
    """The report, with the first names of each reason."""
    lines = [f"{report.images:,} images with {report.captions:,} captions"]
    left = {**report.left_out, "near duplicates (kept)": [f"{one} = {other}" for one, other in report.near]}
    for reason, names in left.items():
        if names:
            more = ", ..." if len(names) > NAMED else ""
            lines.append(f"{reason}: {len(names):,} ({', '.join(names[:NAMED])}{more})")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
