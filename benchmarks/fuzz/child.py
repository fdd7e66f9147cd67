"""The process that inputs are tried in: what came of each, however it ends."""

import logging
import multiprocessing
import os
import random
import resource
import tempfile
import time
import traceback
import warnings
from pathlib import Path

from sseg.errors import SSegError

PATIENCE = 30.0  # seconds for an input
START = 300.0  # for the process to begin: imports and weights


class Child:
    """The process that tries inputs, one after another."""

    def __init__(self):
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        if not self.pipe.poll(START):
            raise SystemExit("The process that tries inputs does not begin: look at what it prints.")
        self.pipe.recv()

    def tries(self, seed, kind, number):
        """Outcome, detail, seconds and peak memory in MB of one input."""
        start = time.monotonic()
        self.pipe.send((seed, kind, number))
        try:
            if self.pipe.poll(PATIENCE):
                outcome, detail, memory = self.pipe.recv()
                return outcome, detail, time.monotonic() - start, memory
            outcome = "hang"
        except (EOFError, ConnectionError):
            outcome = "died"
        self.process.kill()
        self.process.join()
        return outcome, f"exit code {self.process.exitcode}", time.monotonic() - start, 0

    def end(self):
        """Let it go."""
        self.pipe.close()
        self.process.join(10)
        self.process.kill()


def work(pipe) -> None:
    """In the child: try what the pipe says, and tell what came of it."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="sseg-fuzz-"))
    said = open(folder / "stderr", "ab+")  # noqa: SIM115
    from benchmarks.fuzz.calls import World  # imports all that is tried

    world = World(folder)
    pipe.send("ready")
    os.dup2(said.fileno(), 2)  # what C libraries print, too
    while True:
        try:
            seed, kind, number = pipe.recv()
        except EOFError:
            return
        said.seek(0)
        said.truncate()
        outcome, detail = attempt(world, seed, kind, number)
        said.flush()
        printed = (folder / "stderr").read_bytes().decode("utf-8", "replace").strip()
        if printed and kind != "http" and outcome in ("answer", "sentence"):
            outcome, detail = "text on stderr", printed
        pipe.send((outcome, detail, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024))


def attempt(world, seed, kind, number) -> tuple[str, str]:
    """One input: "answer", "sentence", or the fault; and what there is to say of it."""
    rng = random.Random(f"{seed}/{kind}/{number}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            return "answer", getattr(world, kind)(rng)
    except SSegError as error:
        text = str(error)
        fine = text.isprintable() and 10 < len(text) < 1000
        return ("sentence", text) if fine else ("not one sentence", repr(text))
    except Exception:
        return "other exception", traceback.format_exc()
