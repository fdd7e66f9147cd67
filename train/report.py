"""The paper's table with a column for ours, and every measured run, from the results that train.evaluate wrote.

    python -m train.report [--results docs/results] [--out docs/evaluation-table.md] [--png docs/images/evaluation.png]

A cell of ours is filled by a run on the whole of a set alone, under the protocol `paper`, with the paper's number of
classes, and is linked to its JSON. Runs on parts of a set stand in the second table.
"""

import argparse
import json
import os
import sys
from pathlib import Path

from sseg.errors import SSegError
from sseg.stopping import stoppable

# Table of the paper, mIoU in per cent, background counted as a class (paper.md, section 6); None: not given.
SETS = {"voc": "PASCAL VOC (21)", "context": "PASCAL Context (60)", "coco-object": "COCO-Object (81)"}
PUBLISHED = {
    "CLIP": (13.5, 8.1, 5.9),
    "MaskCLIP": (26.8, 22.8, 12.8),
    "GroupViT (26M)": (50.8, 23.7, 27.5),
    "SegCLIP": (52.6, 24.7, 26.5),
    "TCL": (55.0, 30.4, None),
    "S-Seg (26M)": (53.2, 27.9, 30.3),
    "S-Seg+ (26M)": (62.0, 30.2, 35.7),
}
NEEDED = (
    "benchmark",
    "model",
    "protocol",
    "names",
    "images",
    "reported_images",
    "miou",
    "pixel_accuracy",
    "seconds_per_image",
    "commit",
    "hardware",
)


@stoppable("Stopped; what was written is kept.")
def main(arguments=None) -> int:
    """Write the tables and the picture; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m train.report", description=__doc__.split("\n")[0])
    parser.add_argument("--results", default="docs/results", help="folder of JSON files of train.evaluate --out")
    parser.add_argument("--out", default="docs/evaluation-table.md", help="the tables, in Markdown")
    parser.add_argument("--png", default="docs/images/evaluation.png", help="the same as a picture")
    options = parser.parse_args(arguments)
    try:
        runs = read_runs(Path(options.results))
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    for path in (options.out, options.png):
        Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(options.out).write_text(markdown(runs, Path(options.out).parent), encoding="utf-8")
    draw(runs, options.png)
    print(json.dumps({"runs": len(runs), "filled": len(ours(runs)), "out": options.out, "png": options.png}))
    return 0


def read_runs(folder: Path) -> list[dict]:
    """Results with the `path` they came from, in order of names. SSegError for none, or for files of another kind."""
    runs = []
    for path in sorted(folder.glob("*.json")):
        try:
            run = json.loads(path.read_text(encoding="utf-8"))
            missing = [name for name in NEEDED if name not in run]
        except (ValueError, TypeError):
            missing = ["readable JSON"]
        if missing:
            raise SSegError(f"{path} is no result of train.evaluate --protocol (no {missing[0]}): take it away.")
        runs.append(run | {"path": path})
    if not runs:
        raise SSegError(f"There are no results in {folder}: make some with train.evaluate --protocol NAME --out FILE.")
    return runs


def ours(runs: list[dict]) -> dict[str, dict]:
    """For each set of the paper, the best run that may stand in its table."""
    found: dict[str, dict] = {}
    for run in runs:
        whole = not run.get("partial") and not run.get("random_weights") and run["reported_images"] == run["images"]
        own = ":" not in run["model"]
        if run["benchmark"] in SETS and run["protocol"] == "paper" and whole and own and run["miou"] is not None:
            best = found.get(run["benchmark"])
            if best is None or run["miou"] > best["miou"]:
                found[run["benchmark"]] = run
    return found


def markdown(runs: list[dict], place: Path) -> str:
    """Both tables; links are relative to `place`."""
    filled = ours(runs)
    lines = [
        "# Tables of the evaluation",
        "",
        "Written by `python -m train.report`; do not edit.",
        "",
        "mIoU in per cent. Published figures are those of S-Seg's paper; ours are measured runs on the whole set.",
        "",
        f"| set | {' | '.join(PUBLISHED)} | ours |",
        "| --- " * (len(PUBLISHED) + 2) + "|",
    ]
    for i, (name, title) in enumerate(SETS.items()):
        published = ["-" if row[i] is None else f"{row[i]:.1f}" for row in PUBLISHED.values()]
        cell = link(filled[name], place) if name in filled else "not measured"
        lines.append(f"| {title} | {' | '.join(published)} | {cell} |")
    lines += [
        "",
        "Every run there is. Figures of two protocols, two lists of names or two selections of pictures do not "
        "compare.",
        "",
        "| set | pictures reported | model | protocol | names | threshold | mIoU | pixels | "
        "boundary | s an image | commit, hardware |",
        "| --- " * 11 + "|",
    ]
    for run in runs:
        model = f"{run['model']} (random)" if run.get("random_weights") and ":" in run["model"] else run["model"]
        part = ", part" if run.get("partial") else ""
        threshold = "none" if run.get("background") is None else f"{run['background']:g}, {run['threshold']}"
        lines.append(
            f"| {run['benchmark']} | {run['reported_images']} of {run['images']}{part} | {model} | {run['protocol']} | "
            f"{run['names']} | {threshold} | {link(run, place)} | {run['pixel_accuracy']} | "
            f"{run.get('boundary_miou', '-')} | {run['seconds_per_image']:.3f} | {run['commit']}, {run['hardware']} |"
        )
    return "\n".join([*lines, ""])


def link(run: dict, place: Path) -> str:
    """The mIoU, linked to its JSON."""
    return f"[{run['miou']}]({Path(os.path.relpath(run['path'], place)).as_posix()})"


def draw(runs: list[dict], path: str) -> None:
    """Left the published table with ours beside it, right every run."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 1.6 + 0.3 * max(len(runs), len(PUBLISHED) + 2)), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.2))
    filled, height = ours(runs), 0.26
    methods = [*PUBLISHED, "ours"]
    for i, (name, title) in enumerate(SETS.items()):
        values = [*(row[i] for row in PUBLISHED.values()), filled[name]["miou"] if name in filled else None]
        places = [j + (i - 1) * height for j in range(len(methods))]
        left.barh(places, [value or 0 for value in values], height, label=title)
    left.set(yticks=range(len(methods)), yticklabels=methods, xlabel="mIoU, %", title="The paper's table")
    if len(filled) < len(SETS):
        left.text(1, len(methods) - 1, "not measured on the whole sets" if not filled else "", va="center", fontsize=8)
    left.legend(fontsize=8, loc="lower right")
    labels = [
        f"{run['benchmark']}, {run['model']}, {run['protocol']}, {run['names']}, {run['reported_images']} pictures"
        for run in runs
    ]
    bars = right.barh(range(len(runs)), [run["miou"] or 0 for run in runs], color="#5b7fa6")
    right.bar_label(bars, fmt="%.1f", fontsize=8, padding=2)
    right.set(yticks=range(len(runs)), yticklabels=labels, xlabel="mIoU, %", title="Measured runs")
    for axis in (left, right):
        axis.invert_yaxis()
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    sys.exit(main())
