"""What the page says about the live weights: a status line, one sentence, and the model card."""

import re
from pathlib import Path

from sseg import checkpoint

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_PICTURE = re.compile(r"!\[[^\]]*\]\([^)]*\)\n?")
DEVICES = {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}
OTHERS = "Other weights: start the page with `python app.py --weights FOLDER` or `--weights OWNER/NAME` (Hugging Face Hub)."


def status(segmenter, folder: Path) -> dict:
    """{"line": weights, where from, device; "sentence": what they were trained on, how many phrases they know}."""
    info = segmenter.info()
    device = DEVICES.get(info["device"].split(":")[0], info["device"])
    known = f"They know {info['known_phrases']:,} phrases by heart" if info["known_phrases"] else "Known phrases not recorded"
    size = f"{known} and see a picture at {info['image_size']} pixels."
    return {
        "line": f"weights: {_short(segmenter.name)} ({_origin(segmenter.name)}) · {device}",
        "sentence": " ".join(part for part in (_first_sentence(_card(folder)), size) if part),
    }


def card(folder: Path) -> str:
    """The model card as Markdown, without its front matter and pictures."""
    return (_card(folder) or "These weights come without a model card.") + "\n\n" + OTHERS


def _card(folder: Path) -> str:
    path = Path(folder) / "README.md"
    if not path.is_file():
        return ""
    text = path.read_text(encoding="utf-8", errors="replace").replace("\r\n", "\n")
    return _PICTURE.sub("", _FRONT_MATTER.sub("", text)).strip()


def _first_sentence(text: str) -> str:
    """The first sentence of running text in a card."""
    for block in re.split(r"\n\s*\n", text):
        block = " ".join(block.split())
        if block and block[0] not in "#|-*>`<![":
            return re.split(r"(?<=[.!?])\s", block)[0].replace("**", "").replace("`", "")
    return ""


def _origin(name: str) -> str:
    if name in checkpoint.bundled():
        return "bundled"
    return "folder" if Path(name).expanduser().is_dir() else "Hugging Face Hub"


def _short(name: str) -> str:
    """A folder by its last part: the page is no place for the server's paths."""
    return Path(name).expanduser().resolve().name if _origin(name) == "folder" else name
