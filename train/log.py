"""The log of a run: log.jsonl in its folder, one JSON object a line. Events of starts and resumes, then steps."""

import json
import sys
from pathlib import Path

NAME = "log.jsonl"


def append(folder: Path, record: dict) -> None:
    """One more line."""
    with (folder / NAME).open("a") as file:
        file.write(json.dumps(record) + "\n")


def forget_later(folder: Path, step: int) -> None:
    """Take out the lines of steps after `step`, that of the last checkpoint: they will be written again."""
    path = folder / NAME
    lines = path.read_text().splitlines(keepends=True) if path.is_file() else []
    path.write_text("".join(line for line in lines if json.loads(line)["step"] <= step))


def events(folder: Path) -> list[dict]:
    """Starts and resumes, each with its commit and recipe."""
    lines = [json.loads(line) for line in (folder / NAME).read_text().splitlines()]
    return [line for line in lines if "event" in line]


def records(folder: Path) -> tuple[dict, list[dict]]:
    """The first line, and the steps."""
    lines = [json.loads(line) for line in (folder / NAME).read_text().splitlines()]
    return lines[0], [line for line in lines if "event" not in line]


def facts(folder: Path, recipe: dict) -> dict:
    """What a card says of a run: samples, hardware, processes, seed, commit, versions."""
    first, steps = records(folder)
    made = {name: first[name] for name in ("hardware", "processes", "commit")}
    made["versions"] = ", ".join(f"{package} {version}" for package, version in first["versions"].items()) + "."
    return made | {"samples": steps[-1]["samples"], "seed": recipe["seed"]}


def progress(step: int, total: int, record: dict, shown: tuple[str, ...]) -> None:
    """One line for the person who waits."""
    left = (total - step) * record["seconds_per_step"] / 60
    terms = "  ".join(f"{name} {record[name]:.3f}" for name in shown if name in record)
    rate = f"{record['images_per_second']:.0f} images/s  {left:.0f} min left"
    print(f"step {step}/{total}  {terms}  {rate}", file=sys.stderr, flush=True)
