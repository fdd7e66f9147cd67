"""K-Means: how many times faster than scikit-learn, at what inertia.

    python -m benchmarks.kmeans [--threads 2] [--repeat 3]

Each case clusters a batch of images: scikit-learn one image after the other (n_init=1), ours all in one call, both
until they converge. The last line is one JSON object; `ratio` is scikit-learn's time over ours for the first case.
"""

import argparse
import json
import time

import numpy as np
import torch
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from sseg.pseudo_masks.kmeans import kmeans
from train.provenance import commit, hardware

STEPS = 50
CASES = [  # images, tokens, dimensions, clusters, true modes, noise
    (64, 784, 384, 8, 8, 0.8),
    (16, 3136, 384, 8, 8, 0.8),
    (128, 576, 11, 16, 20, 0.5),
]


def features(images, tokens, dims, modes, noise):
    """Unit vectors around true modes: what patch features of a trained network look like."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(images, modes, dims, generator=generator)
    which = torch.randint(0, modes, (images, tokens, 1), generator=generator)
    x = centres.gather(1, which.expand(-1, -1, dims))
    return torch.nn.functional.normalize(x + noise * torch.randn(x.shape, generator=generator), dim=-1)


def best_time(run, repeat):
    """Least seconds of `repeat` runs, and what the last one returned."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return min(times), result


def measure(case, repeat, threads):
    images, tokens, dims, k, modes, noise = case
    x = features(images, tokens, dims, modes, noise)
    arrays = [image.numpy() for image in x]
    with threadpool_limits(threads):
        theirs, fits = best_time(
            lambda: [
                KMeans(k, n_init=1, max_iter=STEPS, random_state=i).fit(image).inertia_
                for i, image in enumerate(arrays)
            ],
            repeat,
        )
    ours, result = best_time(lambda: kmeans(x, k, steps=STEPS), repeat)
    return {
        "images": images,
        "tokens": tokens,
        "dims": dims,
        "k": k,
        "scikit_learn_ms": round(1000 * theirs, 1),
        "ours_ms": round(1000 * ours, 1),
        "ratio": round(theirs / ours, 2),
        "inertia_ratio": round(float(result.inertia.mean()) / float(np.mean(fits)), 4),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [measure(case, options.repeat, options.threads) for case in CASES]
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))
    print(
        json.dumps(
            {
                "benchmark": "kmeans",
                "rival": "scikit-learn",
                "ratio": rows[0]["ratio"],
                "cases": rows,
                "commit": commit(),
                "hardware": hardware(),
                "torch": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
