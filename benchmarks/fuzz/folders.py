"""Weights folders: a bundled one after changes to its configuration, tensors, words and files; and names of none."""

import json
import os
import random
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from sseg.paths import WEIGHTS

KINDS = ("mini", "mini-plus")
VALUES = [
    0,
    -1,
    1,
    2,
    33,
    64,
    10**6,
    10**9,
    2**63,
    10**400,
    0.5,
    -0.5,
    1e-300,
    1e38,
    float("nan"),
    float("inf"),
    None,
    True,
    "",
    "x",
    "0.5",
    "{}",
    [],
    {},
    [0],
    [1.0],
    [1e9] * 4,
    [[1]],
    ["a"],
    {"a": 1},
    [2, 2, 2, 2],
    "hf-hub:a/b",
    "../../etc/passwd",
    "a\nb",
]
TYPES = [torch.int8, torch.bool, torch.int64, torch.float64, torch.bfloat16, torch.uint8]
TEXTS = [
    "",
    "{",
    "[]",
    "null",
    "5",
    '"x"',
    "[" * 10**5,
    '{"a":' * 10**5,
    "{}",
    '{"model_type": "sseg"}',
    "\ufeff{}",
    '{"model_type": "bert"}',
    "\x00" * 100,
    '{"model_type": ["sseg"]}',
    '{"phrases": [{"text": 5}]}',
]
NAMES = [
    "",
    ".",
    "/",
    "~",
    "~nobody",
    "x" * 300,
    "a/" * 2000,
    "\0",
    "a\nb",
    "photos/..",
    "a\udcff",
    "owner/name@",
    "owner/name",
    "mini\n",
    "MINI",
    "http://a/b",
    "file:///",
    5,
    b"mini",
    ["mini"],
    {},
    True,
    2.5,
]


def grow(rng: random.Random, folder: Path):
    """A name for `sseg.load`, and what it is in a few words."""
    if rng.random() < 0.2:
        return rng.choice(NAMES), "name"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    source = WEIGHTS / rng.choice(KINDS)
    for path in source.iterdir():
        os.symlink(path, folder / path.name)
    said = []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        change = rng.choice([_config, _config, _config, _tensors, _text, _bytes])
        said.append(change(rng, folder))
    return str(folder), ", ".join(said)


def _replace(path: Path, data: bytes) -> None:
    path.unlink(missing_ok=True)  # the link, not what it links to
    path.write_bytes(data)


def _config(rng, folder) -> str:
    """One entry of config.json, perhaps a nested one, becomes another value, goes, or is new."""
    try:
        content = json.loads((folder / "config.json").read_text())
        place = content["backbone"] if rng.random() < 0.3 else content
        name, value = (
            rng.choice([*place, "auto_map", "quantization_config", "depth", "decoder_layers"]),
            rng.choice(VALUES),
        )
    except Exception:  # damaged by an earlier change
        return "config"
    if not isinstance(place, dict):
        return "config"
    if rng.random() < 0.1:
        place.pop(name, None)
    else:
        place[name] = value
    _replace(folder / "config.json", json.dumps(content).encode())
    return f"{name} = {str(value)[:20]}"


def _tensors(rng, folder) -> str:
    """A tensor of another type, shape or value, one less or one more."""
    path = folder / "model.safetensors"
    try:
        tensors = load_file(path)
    except Exception:
        return "tensors"
    name = rng.choice(list(tensors))
    what = rng.randrange(6)
    if what == 0:
        tensors[name] = tensors[name].to(rng.choice(TYPES))
    elif what == 1:
        tensors[name] = torch.full_like(tensors[name], rng.choice([0, 1, -1, 30000]))
    elif what == 2:
        tensors[name] = torch.full_like(tensors[name], 1).double() * rng.choice(
            [1e38, float("nan"), float("inf"), 1e14]
        )
    elif what == 3:
        tensors[name] = tensors[name][None]
    elif what == 4:
        del tensors[name]
    else:
        tensors["more"] = torch.zeros(3)
    path.unlink()
    save_file({key: value.contiguous() for key, value in tensors.items()}, path, metadata={"format": "pt"})
    return f"tensor {name} ({what})"


def _text(rng, folder) -> str:
    name = rng.choice(["config.json", "vocabulary.json", "tokenizer.json", "tokenizer_config.json"])
    _replace(folder / name, rng.choice(TEXTS).encode("utf-8", "surrogatepass"))
    return f"{name} as text"


def _bytes(rng, folder) -> str:
    """A file that is gone, empty, cut off, a folder, or has some bytes changed."""
    path = rng.choice(sorted(folder.iterdir()))
    try:
        data = bytearray(path.read_bytes())
    except OSError:
        return path.name
    what = rng.randrange(5)
    if what == 0:
        path.unlink()
    elif what == 1:
        _replace(path, bytes(data[: rng.choice([0, 8, 100, len(data) // 2])]))
    elif what == 2:
        path.unlink()
        path.mkdir()
    else:
        for _ in range(rng.choice([1, 10])):
            if data:
                data[rng.randrange(min(len(data), 4000))] = rng.randrange(256)
        _replace(path, bytes(data))
    return f"{path.name} ({what})"
