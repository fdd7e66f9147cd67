"""Inputs grown by grammars, each in its turn: an answer, or one sentence; anything else is a fault.

    python -m benchmarks.fuzz [--seed N] [--seconds 300] [--inputs N] [--kinds images,phrases,arguments,weights,http]
                              [--first N] [--out out/fuzz.json]

Input number i of a kind grows from seed, kind and i alone, so `--kinds K --first I --inputs 1` tries one again. Inputs
are tried in a process of their own, which is ended where one takes over 30 seconds of a processor. Faults: an exception
that is no SSegError, a sentence with control characters, text on stderr, a traceback or a status of 500 in an answer,
an input without an end, a process that died. The last
line is one JSON object; the exit code is 1 if there was a fault.
"""

import argparse
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

from benchmarks.fuzz.calls import KINDS
from benchmarks.fuzz.child import Child
from train.files import write_whole
from train.provenance import commit, hardware

SHOWN = 50  # faults that are kept


def main(arguments=None) -> int:
    """Run the command; returns the exit code."""
    options = parse(arguments)
    start, counts, faults = time.monotonic(), {kind: Counter() for kind in options.kinds}, []
    numbers = dict.fromkeys(options.kinds, options.first)
    chooser, tried, slowest, peak = random.Random(options.seed), 0, 0.0, 0
    child = None
    while tried < options.inputs and time.monotonic() - start < options.seconds:
        child = child or Child()
        kind = chooser.choices(options.kinds, [KINDS[one] for one in options.kinds])[0]
        number, numbers[kind] = numbers[kind], numbers[kind] + 1
        outcome, detail, seconds, memory = child.tries(options.seed, kind, number)
        tried, slowest, peak = tried + 1, max(slowest, seconds), max(peak, memory)
        counts[kind][outcome] += 1
        if outcome not in ("answer", "sentence"):
            faults.append({"kind": kind, "number": number, "outcome": outcome, "detail": detail[-3000:]})
            print(f"{kind} {number}: {outcome}\n{detail[-3000:]}", file=sys.stderr, flush=True)
        if outcome in ("hang", "died"):
            child = None
        if tried % 500 == 0:
            print(f"{tried} inputs, {len(faults)} faults, {peak} MB", file=sys.stderr, flush=True)
    if child:
        child.end()
    result = {
        "inputs": tried,
        "seed": options.seed,
        "first": options.first,
        "seconds": round(time.monotonic() - start, 1),
        "outcomes": dict(sum(counts.values(), Counter())),
        "kinds": {kind: dict(one) for kind, one in counts.items()},
        "faults": len(faults),
        "slowest_cpu_s": round(slowest, 2),
        "peak_memory_mb": peak,
        "commit": commit(),
        "hardware": hardware("cpu"),
    }
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        write_whole(options.out, json.dumps(result | {"found": faults[:SHOWN]}, indent=1).encode())
    print(json.dumps(result))
    return 1 if faults else 0


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fuzz", description="Try inputs grown by grammars.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--inputs", type=int, default=10**9, metavar="N", help="most inputs")
    parser.add_argument("--kinds", default=",".join(KINDS), help="some of " + ", ".join(KINDS))
    parser.add_argument("--first", type=int, default=0, metavar="N", help="number of the first input of each kind")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the last line with the faults, as JSON")
    options = parser.parse_args(arguments)
    options.kinds = options.kinds.split(",")
    if unknown := set(options.kinds) - set(KINDS):
        parser.error(f"there is no kind {', '.join(unknown)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
