"""Two weights class by class.

    python -m benchmarks.ablations.per_class TEACHER.json STUDENT.json --out docs/images/classes.png

Draws each class that occurs at its IoU by the first and by the second, from what `train.evaluate --out` wrote of the
same benchmark; above the diagonal the second is better. The classes that changed most are named. Ends with JSON;
`ratio`: share of the classes that got better.
"""

import argparse
import json
from pathlib import Path

from matplotlib import pyplot as plt

NAMED = 5  # of those that gained most, and of those that lost most


def read(path: Path) -> tuple[dict, dict[str, float]]:
    """A result and the IoU of each class in it, in per cent."""
    result = json.loads(path.read_text())
    return result, {row["name"]: 100 * row["iou"] for row in result["per_class"] if row["iou"] is not None}


def draw(axis, before: dict[str, float], after: dict[str, float], changes: list[str]) -> None:
    """`changes`: the classes, from the greatest loss to the greatest gain."""
    axis.plot([0, 100], [0, 100], color="#888888", linewidth=1)
    points = [before[name] for name in changes], [after[name] for name in changes]
    axis.scatter(*points, s=22, color="#2563a8", alpha=0.8)
    for what, names, colour in (
        ("gained", changes[: -NAMED - 1 : -1], "#2e8b57"),
        ("lost", changes[:NAMED], "#c2571a"),
    ):
        lines = "\n".join(f"{name}  {before[name]:.0f} to {after[name]:.0f}" for name in names)
        points = [before[name] for name in names], [after[name] for name in names]
        axis.scatter(*points, s=30, color=colour, label=f"{what} most:\n{lines}")
    axis.legend(fontsize=7.5, loc="upper left", bbox_to_anchor=(1.0, 1.0), labelspacing=1.2)
    axis.set_xlim(0, 100)
    axis.set_ylim(0, 100)
    axis.set_aspect("equal")
    axis.grid(alpha=0.3)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--out", type=Path, required=True, help="a PNG")
    options = parser.parse_args()
    (first, before), (second, after) = read(options.before), read(options.after)
    changes = sorted(before.keys() & after.keys(), key=lambda name: after[name] - before[name])
    figure, axis = plt.subplots(figsize=(6.8, 5.2), layout="constrained")
    draw(axis, before, after, changes)
    axis.set_title(f"IoU of each class, {first['benchmark']}, {first['images']} pictures", fontsize=10)
    axis.set_xlabel(f"{Path(first['model']).name}: mIoU {first['miou']:.1f}")
    axis.set_ylabel(f"{Path(second['model']).name}: mIoU {second['miou']:.1f}")
    figure.savefig(options.out, dpi=110)
    better = sum(after[name] > before[name] for name in changes)
    print(
        json.dumps(
            {
                "benchmark": "per_class",
                "classes": len(changes),
                "better": better,
                "ratio": round(better / max(len(changes), 1), 2),
            }
        )
    )


if __name__ == "__main__":
    main()
