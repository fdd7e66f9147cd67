"""From a finished run to weights for others: card, curve and files in one folder, or on the Hub.

    python -m train.publish runs/mini sseg/weights/mini --results runs/mini/results.jsonl
    python -m train.publish runs/mini owner/name --hub --results runs/mini/results.jsonl

`results.jsonl` holds the last lines that `python -m train.evaluate` printed, one for each benchmark; the card shows
them as they are.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import yaml
from matplotlib import pyplot as plt

from sseg.errors import SSegError
from sseg.stopping import stoppable
from train import feature_card, log, plus_card
from train.data.tars import data_path
from train.files import write_whole, writing
from train.recipe import read_mapping

plt.switch_backend("Agg")  # curves are drawn where there is no screen

FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocabulary.json")
FILES += ("recipe.yaml", "log.jsonl")
TERMS = {"contrastive": "contrastive loss, captions", "phrases": "phrase loss", "dice": "dice loss"}
TERMS |= {"retrieval": "retrieval"}

CARD = """---
license: apache-2.0
library_name: sseg
pipeline_tag: image-segmentation
tags: [open-vocabulary, semantic-segmentation, s-seg]
---

# {name}

S-Seg weights: a picture and any words in, a labelled picture out. {seen}Trained from pictures and captions, with
pseudo-masks for shape (K-Means over the features {features}) and image-text contrastive losses for meaning
(on {texts}); no human masks, no CLIP. Method: Zihang Lai, "Exploring Simple Open-Vocabulary Semantic Segmentation"
(arXiv 2401.12217); this is an independent implementation.

```python
import sseg
seg = sseg.load("{name}")
out = seg("picture.jpg", ["dog", "grass"], background=0.3)
```

## What it was trained on

{data}{start}

{samples:,} picture-caption pairs, {hours:.1f} hours on {hardware} ({processes} process(es)), seed {seed}, commit
{commit}. The whole recipe is in `recipe.yaml`, every logged step in `log.jsonl`.

{versions}

![loss terms and retrieval over the samples](curve.png)

## How good it is

{results}

mIoU in per cent. "all": every phrase of the benchmark competes in every picture; "present": only the phrases that the
picture holds. Nothing was tuned on these scenes.

## What it cannot do

{limits}
"""

DATA = {
    "stickers": "Rendered scenes: {things} named stickers (drawn from the Noto Color Emoji font) on {materials} "
    "procedural materials, with captions written by rules.",
    "tars": "Photographs with captions from image-text tars.",
    "maps": "{photographs} photographs with captions from image-text tars, in {views} view(s) each (their sources and "
    "shares are in `recipe.yaml`). Left out of the captions on purpose, to measure unseen words: the words of "
    "`assets/vocabularies/synonyms.yaml`.",
}
SEEN = """Its image encoder ({encoder}, {learned}) has seen ImageNet's class labels, and {tags}; what
its words mean starts from word vectors that have seen texts alone (among them captions, without their pictures). """
LIMITS = {
    "stickers": "It has never seen a photograph: there it answers mostly by colour and texture, and its names for "
    "things are guesses. It knows the names and synonyms in `vocabulary.json`; other words are read by their spelling "
    "alone. Things that are small or of the colour of their ground are missed.",
    "tars": "It knows the words of its captions (`vocabulary.json`); rare words are weak, and small things are missed.",
    "maps": "It knows the words of its captions (`vocabulary.json`) and the names of ImageNet's classes; other words "
    "are read as the known words nearest to them. Outlines are soft, small things are missed, parts of people and "
    "clothes are told apart poorly, and a word whose rivals are not asked may cover more than its thing.",
    "mixture": "It knows the names of its scenes and the words of its captions (`vocabulary.json`); other words are "
    "read by their spelling alone. Small things are missed. On photographs it finds common things and materials, "
    "roughly; rare ones it guesses.",
}


def draw_curve(steps: list[dict], path: Path) -> None:
    """Loss terms and retrieval over the samples seen; a dotted line where the picture size changes."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 5), sharex=True, layout="constrained")
    samples = [step["samples"] / 1000 for step in steps]
    pairs = zip(samples[1:], steps, steps[1:], strict=False)
    changes = [(x, b["size"]) for x, a, b in pairs if a["size"] != b["size"]]
    for axis, (term, title) in zip(axes.flat, TERMS.items(), strict=True):
        has = [i for i, step in enumerate(steps) if term in step]  # a stage may learn shape or meaning alone
        axis.plot([samples[i] for i in has], [steps[i][term] for i in has], color="#2563a8", linewidth=1)
        axis.set_title(title, fontsize=10)
        axis.grid(alpha=0.3)
        for x, size in changes:
            axis.axvline(x, color="#888", linestyle=":", linewidth=1)
            axis.annotate(f"{size} px", (x, 1), xycoords=("data", "axes fraction"), fontsize=8, va="top", color="#555")
    for axis in axes[1]:
        axis.set_xlabel("thousand samples")
    axes[0][0].set_ylim(bottom=0)
    axes[1][1].set_ylabel("pictures that find their caption", fontsize=8)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def results_table(results: list[dict]) -> str:
    """Benchmark results as a Markdown table, each with what is needed to repeat it."""
    rows = ["| benchmark | phrases | images | mIoU | things | materials | seed offset | commit |"]
    rows.append("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for r in results:
        cells = [r["benchmark"], r.get("phrases", ""), r["images"], r["miou"], r.get("miou_things", "")]
        cells += [r.get("miou_materials", ""), r.get("seed", 0), r["commit"]]
        shown = (f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in cells)
        rows.append("| " + " | ".join(shown) + " |")
    command = "python -m train.evaluate --benchmark NAME --model WEIGHTS --phrases PHRASES"
    return "\n".join(rows) + f"\n\nEach row: `{command}`, on {results[0]['hardware']}."


def write_card(run: Path, name: str, results: list[dict]) -> str:
    """The model card of a run as Markdown."""
    recipe = read_mapping(run / "recipe.yaml")
    phrases = json.loads((run / "vocabulary.json").read_text(encoding="utf-8"))["phrases"]
    counts = {f"{kind}s": sum(p["kind"] == kind and "name" not in p for p in phrases) for kind in ("thing", "material")}
    parts = recipe["data"].get("parts", [recipe["data"]])  # those of a mixture
    shapes = [recipe["pseudo_masks"], *(part["pseudo_masks"] for part in parts if "pseudo_masks" in part)]
    if recipe["data"]["name"] == "maps":
        listing = json.loads((data_path(recipe["data"]["folder"]) / "maps.json").read_text(encoding="utf-8"))
        counts |= {"photographs": f"{len(listing['keys']):,}", "views": recipe["data"]["views"]}
    return CARD.format(
        name=name,
        seen=seen(recipe),
        features=" and ".join(dict.fromkeys(f'"{shape["features"]}"' for shape in shapes)),
        texts="captions and their single phrases" if recipe["loss"]["phrases"] else "captions",
        data="\n\n".join(dict.fromkeys(DATA[part["name"]].format(**counts) for part in parts)),
        start=f"\n\nIt went on from the weights `{recipe['init']}`." if recipe.get("init") else "",
        limits=LIMITS[recipe["data"]["name"]],
        hours=log.records(run)[1][-1]["seconds"] / 3600,
        results=results_table(results) if results else "Not evaluated yet.",
        **log.facts(run, recipe),
    )


def seen(recipe: dict) -> str:
    """What the weights have seen before this run, for the first lines of a card."""
    if "encoder" not in recipe:
        return ""
    learn = recipe["encoder"]["learn"]
    learned = f"learning at {learn:g} of the rate" if learn else "frozen"
    tags = "its own classes served as further captions of regions (tags)" if recipe["loss"].get("tags") else "no more"
    return SEEN.format(encoder=recipe["model"]["backbone"]["backbone"], learned=learned, tags=tags)


def publish(run: Path, target: Path, name: str, results: list[dict], in_use: dict | None = None) -> None:
    """Copy what others need of a run to `target`, with card and curve; `in_use`: entries of config.json to change."""
    kind = card_of(run)
    files = kind.FILES if kind else FILES
    missing = [file for file in files if not (run / file).is_file()]
    if missing:
        raise SSegError(f"The run {run} has no {missing[0]}; give the folder that a training command wrote.")
    with writing(target):
        target.mkdir(parents=True, exist_ok=True)
        for file in files:
            shutil.copyfile(run / file, target / file)
    if in_use:
        config = json.loads((target / "config.json").read_text(encoding="utf-8"))
        if unknown := sorted(in_use.keys() - config.keys()):
            raise SSegError(f"config.json has no entry {unknown[0]}: give --in-use entries that the weights have.")
        write_whole(target / "config.json", json.dumps(config | in_use, indent=2) + "\n")
    if kind:
        kind.draw_curve(run, target / "curve.png")
    else:
        draw_curve(log.records(run)[1], target / "curve.png")
    write_whole(target / "README.md", (kind.write_card if kind else write_card)(run, name, results))


def card_of(run: Path):
    """The module that describes what a run made: features, S-Seg+; None for S-Seg, which is described here."""
    path = run / "recipe.yaml"
    recipe = read_mapping(path) if path.is_file() else {}
    if "prototypes" in recipe or feature_card.is_second(recipe):
        return feature_card
    return plus_card if "teacher" in recipe else None


@stoppable("Stopped.")
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train.publish", description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a run")
    parser.add_argument("target", help="folder to write, or owner/name with --hub")
    parser.add_argument("--results", type=Path, help="JSON lines of train.evaluate")
    parser.add_argument(
        "--in-use",
        nargs="+",
        metavar="KEY=VALUE",
        default=[],
        help="entries of config.json that say how answers are read, chosen after training",
    )
    parser.add_argument("--hub", action="store_true", help="upload to the Hugging Face Hub")
    args = parser.parse_args(arguments)
    try:
        lines = args.results.read_text(encoding="utf-8").splitlines() if args.results else []
        results = [json.loads(line) for line in lines]
        folder = args.run / "published" if args.hub else Path(args.target)
        in_use = {key: yaml.safe_load(value) for key, _, value in (one.partition("=") for one in args.in_use)}
        publish(args.run, folder, args.target if args.hub else folder.name, results, in_use)
        if args.hub:
            from huggingface_hub import HfApi

            HfApi().create_repo(args.target, exist_ok=True)
            HfApi().upload_folder(repo_id=args.target, folder_path=folder)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
