"""What the page says about the live weights: a status line, one sentence, and the model card."""

import re
from dataclasses import dataclass
from pathlib import Path

import sseg
from sseg import checkpoint
from sseg.errors import SSegError

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
LONGEST_CARD = 100_000  # characters; what comes after them is not shown
DEVICES = {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}
OTHERS = "Other weights: `python app.py --weights FOLDER`, or `--weights OWNER/NAME` from the Hugging Face Hub."


@dataclass(frozen=True)
class Weights:
    """The live weights."""

    name: str  # bundled name, Hub id, or the last part of a folder: the page is no place for the server's paths
    origin: str  # "bundled", "folder", "Hugging Face Hub"
    folder: Path

    @property
    def loadable(self) -> str:
        """What a person writes into `sseg.load`."""
        return f"path/to/{self.name}" if self.origin == "folder" else self.name


def load(name: str):
    """Segmenter and `Weights`; the Hub, if it is needed, is asked once. SSegError as in `sseg.load`, and for S-Seg+."""
    weights = find(name)
    if checkpoint.kind_of(weights.folder) == checkpoint.PLUS:
        raise SSegError(f'"{name}" is S-Seg+, which knows its own categories alone, and the page asks for free words: '
                        "start it with other weights, and find the bundled S-Seg+ on the tab Compare.")  # fmt: skip
    segmenter = sseg.load(weights.folder)
    segmenter.name = weights.name
    return segmenter, weights


def find(name: str) -> Weights:
    """Where those weights are. SSegError as in `sseg.load`."""
    folder = checkpoint.resolve(name)
    if name in checkpoint.bundled():
        return Weights(name, "bundled", folder)
    if Path(name).expanduser().is_dir():
        return Weights(folder.resolve().name, "folder", folder)
    return Weights(name, "Hugging Face Hub", folder)


def status(segmenter, weights: Weights) -> dict:
    """{"line": weights, where from, device; "sentence": what they were trained on, how many phrases they know}."""
    info = segmenter.info()
    device = DEVICES.get(info["device"].split(":")[0], info["device"])
    known = f"They know {info['known_phrases']:,} phrases" if info["known_phrases"] else "Their words are not recorded"
    size = f"{known} and see a picture at {info['image_size']} pixels."
    return {
        "line": f"weights: {weights.name} ({weights.origin}) · {device}",
        "sentence": " ".join(part for part in (_first_sentence(_card(weights.folder)), size) if part),
    }


def card(weights: Weights) -> str:
    """The model card as Markdown, without its front matter."""
    return (_card(weights.folder) or "These weights come without a model card.") + "\n\n" + OTHERS


def _card(folder: Path) -> str:
    path = folder / "README.md"
    if not path.is_file():
        return ""
    with open(path, encoding="utf-8", errors="replace") as file:
        return _FRONT_MATTER.sub("", file.read(LONGEST_CARD)).strip()


def _first_sentence(text: str) -> str:
    """The first sentence of running text in a card."""
    for block in re.split(r"\n\s*\n", text):
        block = " ".join(block.split())
        if block and block[0] not in "#|-*>`<![":
            return re.split(r"(?<=[.!?])\s", block)[0].replace("**", "").replace("`", "")
    return ""
