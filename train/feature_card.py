"""Card and curve of a run of train.distill or train.cluster_distill; `train.publish` puts them beside the weights."""

import json
from pathlib import Path

from matplotlib import pyplot as plt

from sseg.models.small_vit import SmallViT
from train import log
from train.recipe import read_mapping

FILES = ("config.json", "model.safetensors", "recipe.yaml", "log.jsonl")
TERMS = {"near": "nearness", "whole": "agreement on views"}  # of the first stage
GROUPING_TERMS = {"loss": "finding one's clusters"}

CARD = """---
license: apache-2.0
library_name: sseg
pipeline_tag: image-feature-extraction
tags: [self-supervised, pseudo-masks, s-seg]
---

# {name}

Features for pseudo-masks, learned from pictures alone: no captions, no labels, no other network. A ViT of
{parameters:,} parameters with patches of 8 pixels. Its features, joined with the textons (texture, colour and
position), spread among cells alike, and those of the ground drawn together, are what K-Means divides a picture by.

```python
import sseg
masks = sseg.PseudoMasker("mini")("picture.jpg", k=8)
```

## What it was trained on

{data}

{samples:,} pictures, {minutes:.0f} minutes on {hardware} ({processes} process(es)), seed {seed}, commit {commit}.
{method} Every logged step is in `log.jsonl`.{resumed}

{versions}

![loss terms over the pictures seen](curve.png)

## How good it is

{results}

Oracle mIoU in per cent: every cluster takes the class that most of its pixels have.

## What it cannot do

It knows textures and parts, hardly whole things: with few clusters a thing often shares one with its ground, and a
large thing falls apart. It is small and was trained briefly; DINO's own weights, where they can be had, saw far more.
"""

DATA = (
    "The pictures of image-text tars (12,119 small photographs for the bundled weights; their captions are not\n"
    "read), and rendered scenes, {share:.0f} in 100."
)
METHOD = (
    "Weights of the two loss terms stand in `recipe.yaml`: nearness (each patch has to find the patches near it in\n"
    "the picture among those of other pictures and of other pieces of a collage), and DINO's agreement of whole views."
)
GROUPING_METHOD = (
    "That is the second stage (`train.cluster_distill`): the features of the first divided each picture into pseudo-\n"
    "masks, at K = {k}; the network, which sees pictures in changed colours, learned to find for each patch those of\n"
    "its clusters among the patches of {group} pictures."
)


def draw_curve(run: Path, path: Path) -> None:
    """The loss terms over the pictures seen; a dotted line where the views grow."""
    steps, recipe = log.records(run)[1], read_mapping(run / "recipe.yaml")
    terms = GROUPING_TERMS if is_second(recipe) else TERMS
    width = max(3.2 * len(terms), 4.8)
    figure, axes = plt.subplots(1, len(terms), figsize=(width, 2.8), layout="constrained", squeeze=False)
    grown, seen = [], 0
    for stage in recipe["stages"][:-1]:
        seen += stage["steps"] * stage["batch"]
        grown.append(seen / 1000)
    for axis, (term, title) in zip(axes[0], terms.items(), strict=True):
        axis.plot([s["samples"] / 1000 for s in steps], [s[term] for s in steps], color="#2563a8", linewidth=1)
        for x in grown:
            axis.axvline(x, color="#888", linestyle=":", linewidth=1)
        axis.set_title(f"{title} (loss)", fontsize=10)
        axis.set_xlabel("thousand pictures")
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def is_second(recipe: dict) -> bool:
    """Whether a recipe is one of train.cluster_distill."""
    return "scenes" in recipe.get("data", ())


def results_table(results: list[dict]) -> str:
    """Oracle results as a Markdown table, each with what is needed to repeat it."""
    rows = ["| benchmark | K | pictures | oracle mIoU | clusterings of each | seed offset | commit |"]
    rows.append("| --- | --- | --- | --- | --- | --- | --- |")
    rows += [
        f"| {r['benchmark']} | {r['k']} | {r['images']} | {r['oracle_miou']:.1f} | {r.get('clusterings', 1)} | "
        f"{r['seed']} | {r['commit']} |"
        for r in results
    ]
    command = "python -m train.evaluate --benchmark NAME --oracle --features mini --k K --clusterings N"
    return "\n".join(rows) + f"\n\nEach row: `{command}`, on {results[0]['hardware']}."


def resumed(events: list[dict]) -> str:
    """A sentence on where the run was stopped and went on; the recipe's stages may have changed there."""
    steps = [str(event["step"]) for event in events if event["event"] == "resume"]
    if not steps:
        return ""
    return f" Stopped and resumed at step {', '.join(steps)}; the log holds the recipe of each part."


def write_card(run: Path, name: str, results: list[dict]) -> str:
    """The card of a run as Markdown."""
    recipe = read_mapping(run / "recipe.yaml")
    network = SmallViT(**json.loads((run / "config.json").read_text(encoding="utf-8")))
    share, method = recipe["data"].get("stickers"), METHOD
    if is_second(recipe):
        share = recipe["data"]["share"]
        k = ", ".join(map(str, recipe["teacher"]["k"]))
        method = GROUPING_METHOD.format(k=k, group=recipe["loss"]["group"])
    return CARD.format(
        name=name,
        parameters=sum(p.numel() for p in network.parameters()),
        data=DATA.format(share=100 * share),
        method=method,
        resumed=resumed(log.events(run)),
        minutes=log.records(run)[1][-1]["seconds"] / 60,
        results=results_table(results) if results else "Not evaluated yet.",
        **log.facts(run, recipe),
    )
