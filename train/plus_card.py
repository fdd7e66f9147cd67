"""The model card of S-Seg+ weights, and the curve of their run."""

from pathlib import Path

from matplotlib import pyplot as plt

from train import log
from train.recipe import read_mapping

FILES = ("config.json", "model.safetensors", "recipe.yaml", "log.jsonl")

CARD = """---
license: apache-2.0
library_name: sseg
pipeline_tag: image-segmentation
tags: [semantic-segmentation, self-training, s-seg]
---

# {name}

S-Seg+ weights: a picture in, a picture labelled with a fixed list of categories out. {seen}A student ({student})
that learned the labels which S-Seg (`{teacher}`) gave to unlabelled training pictures; no human masks, no CLIP, no
captions read by the student, no test picture. Method: Zihang Lai, "Exploring Simple Open-Vocabulary Semantic
Segmentation" (arXiv 2401.12217); this is an independent implementation.

```python
import sseg
seg = sseg.load("{name}")
out = seg("picture.jpg", background=0)  # all categories; or some of them: seg("picture.jpg", ["dog", "grass"])
```

## What it was trained on

{data} The teacher's labels, {views}{balanced}; ignored: {unsure}, {ignored:.0%} of all pixels.

{samples:,} {unit}, {hours:.1f} hours on {hardware}, seed {seed}, commit {commit}. The whole recipe is in
`recipe.yaml`, every logged step in `log.jsonl`.

{versions}

![cross-entropy and agreement with the teacher's labels](curve.png)

## Its {count} categories

{categories}

## How good it is

{results}

## What it cannot do

It knows its categories and nothing else: a thing that is none of them gets the nearest. What the teacher names wrong
everywhere, it learns wrong. Small things are missed.
"""

DATA = {
    "stickers": "{count} rendered scenes of the training split that show the things of the target.",
    "tars": "Training photographs of image-text tars (`{only}`).",
    "folder": "A folder of pictures.",
    "maps": "{photographs} of the teacher's own training photographs, as maps of its encoder.",
}
SEEN = """Its encoder ({encoder}, frozen) has seen ImageNet's class labels; its teacher has seen captions of the same
photographs, and word vectors of texts; no masks. """
UNSURE = {
    "threshold": "pixels with a probability below {least}",
    "share": "of each category, the least sure pixels beyond a share of {keep}",
    "all": "none",
}
BALANCED = "; its categories weighed so that all have the same share of {} of the pictures"


def draw_curve(run: Path, path: Path) -> None:
    """Loss and agreement with the labels over the windows seen."""
    steps = log.records(run)[1]
    figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
    titles = {"loss": "cross-entropy", "agreement": "share of pixels as the teacher labelled them"}
    for axis, (term, title) in zip(axes, titles.items(), strict=True):
        axis.plot([step["samples"] / 1000 for step in steps], [step[term] for step in steps], color="#2563a8")
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("thousand windows or cells")
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def write_card(run: Path, name: str, results: list[dict]) -> str:
    """The card as Markdown. `results`: lines of train.evaluate, of these weights and of their teacher."""
    recipe, first = read_mapping(run / "recipe.yaml"), log.records(run)[0]
    categories = list(first["labels"]["shares"])
    data, unsure = recipe["data"] | {"only": recipe["data"].get("only", "*")}, recipe["unsure"]
    data["photographs"] = f"{first['labels'].get('photographs', 0):,}"
    return CARD.format(
        name=name,
        teacher=Path(recipe["teacher"]).name,
        student=student_of(recipe),
        seen=SEEN.format(encoder=recipe["model"]["backbone"]["backbone"]) if data["name"] == "maps" else "",
        data=DATA[data["name"]].format(**data),
        views=views_of(recipe),
        unit="cells of pictures" if data["name"] == "maps" else "windows of pictures",
        balanced=BALANCED.format(recipe["balanced"]) if recipe.get("balanced") else "",
        unsure=UNSURE[unsure["name"]].format(**unsure),
        ignored=first["labels"]["ignored"],
        count=len(categories),
        categories=", ".join(category.replace("|", " / ") for category in categories) + ".",
        hours=log.records(run)[1][-1]["seconds"] / 3600,
        results=results_table(results) if results else "Not evaluated yet.",
        **log.facts(run, recipe),
    )


def views_of(recipe: dict) -> str:
    """How the teacher looked."""
    numbers = [str(number) for number in recipe["views"]]
    if recipe["data"]["name"] == "maps":
        return f"divided into {' and '.join(numbers)} regions"
    return f"seen at {', '.join(numbers)} pixels" + (", also mirrored" if recipe.get("mirrored") else "")


def student_of(recipe: dict) -> str:
    """What it is, and where it began."""
    backbone = recipe["model"]["backbone"]
    if recipe["model"].get("head") == "context":
        return "three layers for each cell of its teacher's maps"
    kind = "a plain ViT" if "name" in backbone else f"a {backbone['model_type'].replace('resnet', 'ResNet')}"
    begun = {"teacher": ", begun as its teacher's", "features-mini": ", begun as features-mini", None: ""}
    return f"UperNet on {kind}" + begun.get(recipe.get("init"), f", begun as {recipe.get('init')}")


def results_table(results: list[dict]) -> str:
    """A row for each line, whichever weights it is of."""
    rows = ["| benchmark | weights | images | mIoU | asked | seed offset | commit |"]
    rows.append("| --- | --- | --- | --- | --- | --- | --- |")
    for r in results:
        cells = [r["benchmark"], Path(r["model"]).name, r["images"], f"{r['miou']:.1f}", r["protocol"]]
        rows.append("| " + " | ".join(map(str, [*cells, r.get("seed", 0), r["commit"]])) + " |")
    asked = [f" --{key} {results[0][key]}" for key in ("target", "half") if results[0].get(key)]
    command = "python -m train.evaluate --benchmark NAME --model WEIGHTS" + "".join(asked)
    return "\n".join(rows) + f"\n\nEach row: `{command}`, on {results[0]['hardware']}; mIoU in per cent."
