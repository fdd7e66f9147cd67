"""The measured values: one row of JSON each, with what it takes to measure it again."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path

from sseg.errors import SSegError

FIELDS = ("id", "value", "unit", "command", "seed", "commit", "hardware", "date")


@dataclass(frozen=True)
class Row:
    """One measured value. `commit` ends in + where the tree had changes; what nobody wrote down is "not recorded"."""

    id: str
    value: float
    unit: str
    command: str
    seed: int
    commit: str
    hardware: str
    date: str
    note: str = ""


def read(folder: Path) -> dict[str, Row]:
    """All rows of a folder's files by their id. SSegError for rows of another kind, and for an id that two have."""
    rows: dict[str, Row] = {}
    for path in sorted(folder.glob("*.json")):
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise SSegError(f"{path} is no JSON: {error}.") from None
        for entry in entries:
            missing = [name for name in FIELDS if name not in entry]
            unknown = sorted(entry.keys() - {*FIELDS, "note"})
            if missing or unknown:
                raise SSegError(f"{path.name}: the row {entry.get('id')} lacks {missing} or has more: {unknown}.")
            if entry["id"] in rows:
                raise SSegError(f"{path.name}: there are two rows {entry['id']}: give one of them another id.")
            rows[entry["id"]] = Row(**entry)
    if not rows:
        raise SSegError(f"There are no measured values in {folder}.")
    return rows


def of_weights(folder: Path) -> dict[str, Row]:
    """Size in MB (`size/NAME`) and millions of parameters (`parameters/NAME`) of each folder of weights in it."""
    rows = {}
    for path in sorted(folder.glob("*/model.safetensors")):
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            tensors = json.loads(file.read(length))
        count = sum(math.prod(entry["shape"]) for name, entry in tensors.items() if name != "__metadata__")
        name = path.parent.name
        for kind, value in (("size", path.stat().st_size / 1e6), ("parameters", count / 1e6)):
            rows[f"{kind}/{name}"] = Row(f"{kind}/{name}", value, "", "", 0, "", "", "")
    return rows
