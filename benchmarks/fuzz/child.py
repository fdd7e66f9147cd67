"""The process that inputs are tried in: what came of each, however it ends."""

import logging
import multiprocessing
import os
import random
import resource
import tempfile
import time
import traceback
from pathlib import Path

from sseg.errors import SSegError

PATIENCE = 30.0  # seconds of a processor for an input
WAITING = 600.0  # seconds for one that waits for something, or for a processor
START = 1200.0  # for the process to begin: imports and weights, on a busy machine
UNSEEN = dict.fromkeys([*range(32), 127, *range(0x80, 0xA0), *range(0xD800, 0xE000), *range(0x2028, 0x202F)])


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
        """Outcome, detail, seconds of a processor, and the peak of memory so far, in MB, of one input."""
        start = time.monotonic()
        self.pipe.send((seed, kind, number))
        try:
            began = self.cpu_seconds()
            while not self.pipe.poll(1.0):
                if self.cpu_seconds() - began > PATIENCE or time.monotonic() - start > WAITING:
                    outcome = "hang"
                    break
            else:
                outcome, detail, memory, seconds = self.pipe.recv()
                return outcome, detail, seconds, memory
        except (EOFError, ConnectionError):
            outcome = "died"
        self.process.kill()
        self.process.join()
        self.pipe.close()
        return outcome, f"exit code {self.process.exitcode}", time.monotonic() - start, 0

    def cpu_seconds(self) -> float:
        """What all its threads have taken so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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
        before = time.process_time()
        outcome, detail = attempt(world, seed, kind, number)
        seconds = time.process_time() - before
        said.flush()
        printed = (folder / "stderr").read_bytes().decode("utf-8", "replace").strip()
        if printed and kind != "http" and outcome in ("answer", "sentence"):
            outcome, detail = "text on stderr", printed
        pipe.send((outcome, detail, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, seconds))


def attempt(world, seed, kind, number) -> tuple[str, str]:
    """One input: "answer", "sentence", or the fault; and what there is to say of it."""
    rng = random.Random(f"{seed}/{kind}/{number}")
    try:
        return "answer", getattr(world, kind)(rng)
    except SSegError as error:
        text = str(error)
        fine = text.translate(UNSEEN) == text and 10 < len(text) < 1000
        return ("sentence", text) if fine else ("not one sentence", repr(text))
    except Exception:
        return "other exception", traceback.format_exc()
