"""The log of a run: log.jsonl in its folder, one JSON object a line. Events of starts and resumes, then steps."""

import json
import sys
from pathlib import Path

from train.files import write_whole, writing

NAME = "log.jsonl"


def append(folder: Path, record: dict) -> None:
    """One more line."""
    with writing(folder / NAME), (folder / NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def begin(folder: Path, step: int) -> None:
    """Keep the lines up to `step`, that of the last checkpoint: later ones will be written again. At 0 none is kept,
    since there is no checkpoint that a run before this one could go on from."""
    kept = [line for line in lines(folder) if line["step"] <= step] if step else []
    write_whole(folder / NAME, "".join(json.dumps(line) + "\n" for line in kept))


def lines(folder: Path) -> list[dict]:
    """All lines; none where there is no log. A last line that a kill cut off is left out."""
    path = folder / NAME
    if not path.is_file():
        return []
    *whole, last = path.read_text(encoding="utf-8", errors="replace").split("\n")
    found = [json.loads(line) for line in whole if line]
    try:
        return [*found, json.loads(last)]
    except ValueError:  # empty, or torn
        return found


def events(folder: Path) -> list[dict]:
    """Starts and resumes, each with its commit and recipe."""
    return [line for line in lines(folder) if "event" in line]


def records(folder: Path) -> tuple[dict, list[dict]]:
    """The first line, and the steps."""
    found = lines(folder)
    return found[0], [line for line in found if "event" not in line]


def facts(folder: Path, recipe: dict) -> dict:
    """What a card says of a run: samples, hardware, processes, seed, commit, versions."""
    first, steps = records(folder)
    made = {name: first[name] for name in ("hardware", "processes", "commit")}
    made["versions"] = ", ".join(f"{package} {version}" for package, version in first["versions"].items()) + "."
    return made | {"samples": steps[-1]["samples"], "seed": recipe["seed"]}


def progress(record: dict, total: int, shown: tuple[str, ...], unit: str) -> None:
    """One line for the person who waits: `shown` terms of a record, its speed in `unit`, and the time left."""
    left = (total - record["step"]) * record["seconds_per_step"] / 60
    terms = "  ".join(f"{name} {record[name]:.3f}" for name in shown if name in record)
    rate = f"{record['images_per_second']:.0f} {unit}/s  {left:.0f} min left"
    print(f"step {record['step']}/{total}  {terms}  {rate}", file=sys.stderr, flush=True)
