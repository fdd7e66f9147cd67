"""Training that is killed goes on as if nothing had happened: python -m benchmarks.kills [--kills 20] [--seed 0]

A tiny run of train.pretrain is killed (SIGKILL, as `kill -9`) at twenty moments: while each file of its first save is
about to take its place, between the files of later ones, in the midst of the vocabulary, of the state and of a line of
the log, and at random. Then it is resumed, or started anew where no state was saved yet, and its weights, vocabulary
and state are compared with those of an unbroken run, bit for bit. Runs are forked from this process, which has imported
everything already. A line a kill, one JSON object at the end; exit code 1 if anything differs.
"""

import argparse
import io
import json
import multiprocessing
import os
import random
import signal
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from train import checkpoints, log, pretrain
from train.checkpoints import STATE
from train.provenance import commit, hardware

RECIPE = "train/recipes/pairs.yaml"
STAGE = "{steps: 6, size: 32, batch: 8, k: 4}"
SMALL = ["device=cpu", "precision=fp32", "log_every=1", "checkpoint_minutes=0", "optimizer.warmup=2",
         "loss.distractors=8", "tokenizer={vocab_size: 300, max_length: 8}", f"stages=[{STAGE}]", "model.text_width=32",
         "model.text_layers=1", "model.fpn_dim=32", "model.hidden_dim=32", "model.num_queries=6", "model.embed_dim=32",
         "model.projector_dim=32", "model.backbone.embedding_size=8", "model.backbone.depths=[1, 1, 1, 1]",
         "model.backbone.hidden_sizes=[8, 8, 16, 16]"]  # fmt: skip
FILES = ("vocabulary.json", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", STATE)
# What is killed: before a file takes its place, or in the midst of its writing, for the n-th time; at random: None.
AIMS = [*(("before", name, 1) for name in FILES), ("before", "model.safetensors", 2), ("before", STATE, 3),
        ("before", "tokenizer.json", 4), ("within", "vocabulary.json", 1), ("within", "vocabulary.json", 3),
        ("within", STATE, 1), ("within", STATE, 4), ("within", log.NAME, 1), ("within", log.NAME, 4),
        ("within", "recipe.yaml", 1)]  # fmt: skip


def make_pairs(folder: Path) -> None:
    """Twenty coarse pictures with two captions each, as a tar."""
    with tarfile.open(folder / "some.tar", "w") as tar:
        for number in range(20):
            coarse = np.random.default_rng(number).integers(0, 256, (2, 3, 3), np.uint8)
            picture = io.BytesIO()
            Image.fromarray(coarse).resize((70, 50), Image.Resampling.NEAREST).save(picture, "PNG")
            thing = ("dog", "house", "tree", "blue car")[number % 4]
            text = f"a {thing} on the grass\na photo of a {thing} and a Käfer, {number}".encode()
            for name, data in ((f"{number:02d}.png", picture.getvalue()), (f"{number:02d}.txt", text)):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def arm(how: str, name: str, count: int) -> None:
    """Make this process kill itself at an aimed moment."""
    left, replace, write = [count], os.replace, Path.write_bytes

    def due(path) -> bool:
        if f".{name}." in Path(path).name or Path(path).name == name:
            left[0] -= 1
        return left[0] == 0

    def replaced(source, target):
        return die() if due(target) else replace(source, target)

    def written(path, data):
        if not data or not due(path):  # files are opened empty first
            return write(path, data)
        write(path, data[: len(data) // 2])
        die()

    def saved(tensors, path, metadata=None, save=checkpoints.save_file):
        save(tensors, path, metadata)
        if due(path):
            os.truncate(path, Path(path).stat().st_size // 2)
            die()

    def appended(folder, record, append=log.append):
        if not due(folder / log.NAME):
            return append(folder, record)
        with (folder / log.NAME).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record)[:40])
        die()

    if how == "before":
        os.replace = replaced
    else:
        Path.write_bytes, checkpoints.save_file, log.append = written, saved, appended


def child(arguments: list[str], aim: tuple | None) -> None:
    """The training command in a process of its own."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    if aim:
        arm(*aim)
    sys.exit(pretrain.main(arguments))


def run(arguments: list[str], aim: tuple | None = None, seconds: float | None = None) -> int:
    """Run the command, killed at an aim or after so many seconds -> its exit code, -9 where it was killed."""
    process = multiprocessing.get_context("fork").Process(target=child, args=(arguments, aim))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    return process.exitcode


def differences(one: Path, other: Path) -> list[str]:
    """What of two runs is not the same, bit for bit; the time that they took may differ."""
    found = [name for name in FILES[:-1] if (one / name).read_bytes() != (other / name).read_bytes()]
    whole, parts = load_file(one / STATE), load_file(other / STATE)
    names = [name for name in whole.keys() | parts.keys() if name != "seconds"]
    found += [name for name in names if name not in whole.keys() & parts.keys()
              or not torch.equal(whole[name], parts[name])]  # fmt: skip
    return found + [path.name for path in other.glob(".*")]  # nothing unfinished may be left


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help=f"the first {len(AIMS)} are aimed, the rest at random")
    parser.add_argument("--seed", type=int, default=0, help="of the random moments")
    options = parser.parse_args()
    torch.set_num_threads(1)  # a process with threads must not be forked
    start, rng = time.monotonic(), random.Random(options.seed)
    counts = {"resumed": 0, "started_anew": 0, "differing": 0}
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        make_pairs(folder)
        command = [RECIPE, *SMALL, f"data={{name: tars, root: {folder}, cache_size: 48}}"]
        began = time.monotonic()
        assert run([*command, f"out={folder / 'unbroken'}"]) == 0, "the unbroken run failed"
        seconds = time.monotonic() - began
        for number in range(options.kills):
            aim, out = AIMS[number] if number < len(AIMS) else None, folder / f"killed-{number}"
            moment = None if aim else rng.uniform(0, seconds)
            code = run([*command, f"out={out}"], aim, moment)
            resume = (out / STATE).is_file()
            again = run([*command, f"out={out}", *(["--resume"] if resume else [])]) if code else 0
            wrong = differences(folder / "unbroken", out) if again == 0 else [f"exit code {again}"]
            counts["resumed" if resume else "started_anew"] += 1
            counts["differing"] += bool(wrong)
            when = f"{aim[0]} {aim[1]}, time {aim[2]}" if aim else f"after {moment:.2f} s"
            print(f"{number + 1:2d}  {when:<38}  {'resumed' if resume else 'started anew':<12}  "
                  f"{', '.join(wrong) or 'the same'}", flush=True)  # fmt: skip
    result = {"benchmark": "kills", "kills": options.kills, **counts, "seconds": round(time.monotonic() - start, 1)}
    print(json.dumps(result | {"commit": commit(), "hardware": hardware()}))
    return int(counts["differing"] > 0)


if __name__ == "__main__":
    sys.exit(main())
