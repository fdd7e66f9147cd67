"""Many clients at one page for minutes: is every answer that of a single user, and do memory and disk stay?

    python -m benchmarks.soak [--clients 32] [--seconds 600] [--beside 30] [--weights mini] [--seed 0] [--out out/soak]

A page is started as a process of its own. First one client asks every question alone; then asks for other words for
`--beside` seconds alone, and as long while a neighbour divides a large picture by spectral clustering, again and again;
then all clients ask at once, in an order of their own, through gradio_client: a picture with words, other words about
it, a pixel, pseudo-masks, a patch of them, a comparison. An answer is wrong if any figure, mask or word in it differs
from the single user's. DIR gets soak.json and soak.png, memory of the server and disk of its uploads and answers over
time. The last line is one JSON object; the exit code is 1 if an answer was wrong or a question failed.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from train.files import write_whole
from train.provenance import commit, hardware

EVERY = 2.0  # seconds between two looks at memory and disk
START = 180.0  # seconds for the page to begin
PICTURES = 12
WORDS = ("dog, grass, sky", "cat|kitten; red car\nroad", "person|man|woman, water, forest", "'sand', 'snow'")
VARY = {"picture", "key", "note", "name", "map"}  # of a report: keys and hashes of files, pictures as numbers
FULL = re.compile(r"queue", re.IGNORECASE)  # what a client is told when too many wait


def main(arguments=None) -> int:
    """Run the command; returns the exit code."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sseg-soak-") as folder:
        files = draw(Path(folder), options.seed)
        page = Page(options.weights, Path(folder) / "page")
        try:
            with Asker(page.address, options.weights) as single:
                start = time.monotonic()
                right = {question: single.ask(*question) for question in questions(files)}
                alone = (time.monotonic() - start) / len(right)
            neighbour = beside(page.address, options, files[0])
            samples = page.watch()
            answers = soak(page.address, options, right)
            page.stop_watching()
        finally:
            page.end()
    result = report(options, right, alone, neighbour, answers, samples)
    plot(samples, options.out / "soak.png")
    write_whole(options.out / "soak.json", json.dumps(result | {"samples": samples}, indent=1).encode())
    print(json.dumps(result))
    return 1 if result["wrong"] or result["failed"] else 0


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description="Many clients at one page.")
    parser.add_argument("--clients", type=int, default=32, metavar="N")
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--beside", type=float, default=30, metavar="S", help="seconds of questions beside a neighbour")
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("out/soak"), metavar="DIR")
    return parser.parse_args(arguments)


def draw(folder: Path, seed: int) -> list[str]:
    """Pictures of discs and boxes in several sizes and formats, as files."""
    rng = np.random.default_rng(seed)
    files = []
    for number in range(PICTURES):
        width, height = (int(side) for side in rng.integers(80, 700, 2))
        image = Image.fromarray(rng.integers(0, 256, (height // 40 + 1, width // 40 + 1, 3), dtype=np.uint8))
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        pen = ImageDraw.Draw(image)
        for _ in range(8):
            x, y, r = (int(v) for v in rng.integers(0, min(width, height), 3))
            pen.ellipse((x, y, x + r, y + r), fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
        files.append(str(folder / f"{number}.{('png', 'jpg', 'webp')[number % 3]}"))
        image.save(files[-1])
    return files


def questions(files) -> list[tuple]:
    """Every question that is asked: (kind, file, words)."""
    asked = [(kind, file, words) for file in files for words in WORDS for kind in ("segment", "ask", "pixel")]
    return (
        asked
        + [(kind, file, "") for file in files for kind in ("clusters", "patch")]
        + [("compare", file, WORDS[0]) for file in files]
    )


class Asker:
    """One client."""

    def __init__(self, address: str, weights: str):
        from gradio_client import Client

        self.client, self.weights = Client(address, verbose=False), weights

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.close()

    def ask(self, kind: str, file: str, words: str):
        """The answer's figures and words, without what differs between two runs of one question."""
        from gradio_client import handle_file

        picture, ask = handle_file(file), self.client.predict
        if kind in ("segment", "ask", "pixel"):
            _, found = ask(picture, words, None, self.weights, api_name="/segment")
            if kind == "ask":
                _, found = ask(found["picture"], "sky, " + words, 0.1, api_name="/ask")
            if kind == "pixel":
                found = ask(found["picture"], words, 20, 30, api_name="/explain_pixel")
        elif kind == "compare":
            _, found = ask(picture, self.weights, self.weights, words, "sky, dog", 0.1, None, api_name="/compare")
        else:
            _, found = ask(picture, "pixels", 6, None, 224, 0, "kmeans", api_name="/pseudo_masks")
            if kind == "patch":
                _, found = ask(found["key"], 20, 30, api_name="/explain_patch")
        return {name: value for name, value in found.items() if name not in VARY}


def beside(address: str, options, file: str) -> dict:
    """Seconds that other words about a picture take: alone, and while a neighbour's slow work runs."""
    from gradio_client import handle_file

    stop, runs = threading.Event(), []

    def neighbour():
        with Asker(address, options.weights) as asker:
            while not stop.is_set():
                start, k = time.monotonic(), 6 + len(runs) % 8  # another K each time: nothing is remembered
                asker.client.predict(handle_file(file), "pixels", k, None, 672, 0, "spectral", api_name="/pseudo_masks")
                runs.append(time.monotonic() - start)

    with Asker(address, options.weights) as asker:
        _, found = asker.client.predict(handle_file(file), WORDS[0], None, options.weights, api_name="/segment")
        alone = ask_for(asker, found["picture"], options.beside)
        thread = threading.Thread(target=neighbour, daemon=True)
        thread.start()
        busy = ask_for(asker, found["picture"], options.beside)
        stop.set()
        thread.join()
    if not runs:
        raise SystemExit("The neighbour's slow work failed: see what the page says of it.")
    return {
        "neighbour_run_s": round(float(np.median(runs)), 2),
        "ask_alone_p50_p95_s": [round(float(np.percentile(alone, share)), 3) for share in (50, 95)],
        "ask_beside_p50_p95_s": [round(float(np.percentile(busy, share)), 3) for share in (50, 95)],
    }


def ask_for(asker: Asker, picture: str, seconds: float) -> list[float]:
    """How long each question for other words took."""
    took, end = [], time.monotonic() + seconds
    while (start := time.monotonic()) < end:
        asker.client.predict(picture, WORDS[len(took) % len(WORDS)], 0.1, api_name="/ask")
        took.append(time.monotonic() - start)
    return took


def soak(address: str, options, right: dict) -> list[tuple]:
    """All clients until the time is up: (kind, outcome, seconds, detail) of each question."""
    end = time.monotonic() + options.seconds

    def client(number: int) -> list[tuple]:
        rng, answers = random.Random(f"{options.seed}/{number}"), []
        with Asker(address, options.weights) as asker:
            while time.monotonic() < end:
                question = rng.choice(list(right))
                start = time.monotonic()
                try:
                    found = asker.ask(*question)
                    outcome, detail = ("right", "") if found == right[question] else ("wrong", str(question))
                except Exception as error:  # clients raise many types
                    outcome, detail = ("told to wait" if FULL.search(str(error)) else "failed"), f"{question}: {error}"
                answers.append((question[0], outcome, time.monotonic() - start, detail))
        return answers

    with ThreadPoolExecutor(options.clients) as pool:
        return [answer for part in pool.map(client, range(options.clients)) for answer in part]


class Page:
    """The page in a process of its own, and what it takes."""

    def __init__(self, weights: str, folder: Path):
        self.folder, self.samples, self.stop = folder, [], threading.Event()
        folder.mkdir()
        self.log = (folder / "log").open("w+")
        environment = os.environ | {
            "GRADIO_TEMP_DIR": str(folder / "files"),
            "HF_HUB_OFFLINE": "1",
            "PYTHONUNBUFFERED": "1",
        }
        command = [sys.executable, "app.py", "--weights", weights, "--port", str(free_port())]
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=subprocess.STDOUT)
        self.address = f"http://127.0.0.1:{command[-1]}/"
        self._wait()

    def _wait(self):
        from urllib.request import urlopen

        end = time.monotonic() + START
        while time.monotonic() < end and self.process.poll() is None:
            try:
                with urlopen(self.address + "config", timeout=5):
                    return
            except OSError:
                time.sleep(0.5)
        self.log.seek(0)
        raise SystemExit(f"The page does not begin:\n{self.log.read()[-2000:]}")

    def watch(self) -> list[dict]:
        """Look at memory and disk every two seconds from now on; the list grows."""
        self.thread, self.start = threading.Thread(target=self._look, daemon=True), time.monotonic()
        self.thread.start()
        return self.samples

    def _look(self):
        while not self.stop.wait(EVERY):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            memory = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) // 1024
            self.samples.append(
                {
                    "s": round(time.monotonic() - self.start, 1),
                    "memory_mb": memory,
                    "disk_mb": round(size_of(self.folder) / 2**20, 2),
                }
            )

    def stop_watching(self):
        self.stop.set()
        self.thread.join()

    def end(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self.log.close()


def free_port() -> int:
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def size_of(folder: Path) -> int:
    """Bytes of all files; some may go while they are counted."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.path.getsize(os.path.join(place, name))
            except OSError:
                continue
    return total


def report(options, right, alone, neighbour, answers, samples) -> dict:
    """The last line."""
    counts = Counter(outcome for _, outcome, _, _ in answers)
    examples = list({detail for _, outcome, _, detail in answers if outcome in ("wrong", "failed")})[:10]
    growth = 60 * slope([one["s"] for one in samples], [one["memory_mb"] for one in samples])
    a_minute = len(answers) / max(samples[-1]["s"] - samples[0]["s"], 1) * 60
    return {
        "clients": options.clients,
        "seconds": options.seconds,
        "weights": options.weights,
        "seed": options.seed,
        "questions": len(right),
        "answers": len(answers),
        "right": counts["right"],
        "wrong": counts["wrong"],
        "failed": counts["failed"],
        "told_to_wait": counts["told to wait"],
        "alone_s": round(alone, 3),
        "p50_p95_s": {kind: percentiles(answers, kind) for kind in sorted({answer[0] for answer in answers})},
        **neighbour,
        "memory_mb": [samples[0]["memory_mb"], max(one["memory_mb"] for one in samples), samples[-1]["memory_mb"]],
        "memory_growth_mb_a_minute": round(growth, 2),
        "memory_growth_mb_per_1000": round(1000 * growth / a_minute, 2),
        "disk_mb": [samples[0]["disk_mb"], samples[-1]["disk_mb"]],
        "examples": examples,
        "commit": commit(),
        "hardware": hardware("cpu"),
    }


def percentiles(answers: list[tuple], kind: str) -> list[float]:
    """Half and 95 in 100 of the questions of a kind took at most so many seconds."""
    seconds = [took for asked, outcome, took, _ in answers if asked == kind and outcome == "right"]
    return [round(float(np.percentile(seconds, share)), 2) for share in (50, 95)] if seconds else []


def slope(times: list[float], values: list[float]) -> float:
    """Growth by the second over the second half, when caches are full."""
    half = len(times) // 2
    return float(np.polyfit(times[half:], values[half:], 1)[0]) if len(times) - half > 2 else 0.0


def plot(samples: list[dict], path: Path) -> None:
    """Memory and disk over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, sharex=True, figsize=(8, 5), layout="constrained")
    for axis, key, label in zip(axes, ("memory_mb", "disk_mb"), ("memory, MB", "files, MB"), strict=True):
        axis.plot([one["s"] for one in samples], [one[key] for one in samples])
        axis.set_ylabel(label)
        axis.set_ylim(bottom=0)
    axes[1].set_xlabel("seconds")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


if __name__ == "__main__":
    sys.exit(main())
