"""How long asking takes beside encoding: python -m benchmarks.inference [--weights mini] [--threads 2]

A picture is encoded once; then it is asked for five phrases, one of them new each time, so that every ask runs the text
tower, and makes its label map. The rival is to encode the picture again. `ratio` is encoding over asking for a picture
of the size that the model works at; `ask_ms` is for one of 640 x 480 pixels, with labels at that size.
"""

import argparse
import itertools
import json
import statistics
import time

import numpy as np
import torch

import sseg


def median_ms(work, repeats: int) -> float:
    """Median time of `work()` in milliseconds, after three calls that do not count."""
    times = []
    for _ in range(repeats + 3):
        start = time.perf_counter()
        work()
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times[3:]), 2)


def measure(segmenter, height: int, width: int, repeats: int) -> dict:
    """Milliseconds for a picture of that size: encoding it, asking with a new phrase, asking with known ones."""
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    encoded = segmenter.encode(picture)
    numbers = itertools.count()

    def ask(last_phrase):
        return segmenter.ask(encoded, ["dog", "grass", "sky", "red car", last_phrase]).labels

    return {
        "encode_ms": median_ms(lambda: segmenter.encode(picture), repeats),
        "ask_ms": median_ms(lambda: ask(f"{height} new phrases, number {next(numbers)}"), repeats),
        "ask_known_ms": median_ms(lambda: ask("water"), repeats),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", default="mini")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    segmenter = sseg.load(options.weights, device="cpu")
    side = segmenter.long_side
    photo, own = (measure(segmenter, *size, options.repeats) for size in ((480, 640), (3 * side // 4, side)))
    print(f"{'':24}{'encode':>10}{'ask':>10}   ms")
    print(f"{'640 x 480':24}{photo['encode_ms']:10}{photo['ask_ms']:10}")
    print(f"{f'{side} x {3 * side // 4} (the model)':24}{own['encode_ms']:10}{own['ask_ms']:10}")
    result = {"benchmark": "inference", "weights": options.weights, "threads": options.threads, **photo}
    result |= {"at_model_size": own, "ratio": round(own["encode_ms"] / own["ask_ms"], 2)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
