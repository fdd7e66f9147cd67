"""The mean of two weights that lie on one way of training: often better than either (model soups, Wortsman 2022).

    python -m train.average mini runs/mini-names --out runs/mini-averaged

Both must have the same sizes and tokenizer. Configuration and files of the second are taken over; words are counted
together.
"""

import argparse
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from sseg.checkpoint import resolve
from sseg.errors import SSegError
from sseg.stopping import stoppable
from train.checkpoints import save_tensors
from train.files import write_whole, writing

WEIGHTS, WORDS, TOKENIZER = "model.safetensors", "vocabulary.json", "tokenizer.json"


def mean_of(first: dict[str, Tensor], second: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each tensor, in the type of the second; counters are the second's. SSegError for other sizes."""
    if {name: t.shape for name, t in first.items()} != {name: t.shape for name, t in second.items()}:
        raise SSegError("The two weights have different sizes: take two of one way of training.")
    return {
        name: ((first[name].float() + tensor.float()) / 2).to(tensor.dtype) if tensor.is_floating_point() else tensor
        for name, tensor in second.items()
    }


def words_of(first: dict, second: dict) -> dict:
    """Vocabularies (phrases with their count, words) with the counts of both."""
    counts = Counter({entry["text"]: entry["count"] for entry in first["phrases"]})
    phrases = [entry | {"count": entry["count"] + counts[entry["text"]]} for entry in second["phrases"]]
    known = {entry["text"] for entry in phrases}
    phrases += [entry for entry in first["phrases"] if entry["text"] not in known]
    words = sum((Counter(one.get("words", {})) for one in (first, second)), Counter())
    return {"phrases": phrases, "words": dict(words.most_common())}


def average(first: Path, second: Path, out: Path) -> None:
    """Write the mean of two folders of weights to a third."""
    if (first / TOKENIZER).read_bytes() != (second / TOKENIZER).read_bytes():
        raise SSegError("The two weights have different tokenizers: take two of one way of training.")
    tensors = mean_of(load_file(first / WEIGHTS), load_file(second / WEIGHTS))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        for path in second.iterdir():
            if path.is_file() and path.name not in (WEIGHTS, WORDS, "state.safetensors"):
                shutil.copyfile(path, out / path.name)
    save_tensors(out / WEIGHTS, tensors)
    words = words_of(*(json.loads((folder / WORDS).read_text(encoding="utf-8")) for folder in (first, second)))
    write_whole(out / WORDS, json.dumps(words, ensure_ascii=False, indent=0))


@stoppable("Stopped.")
def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train.average", description=__doc__.split("\n")[0])
    parser.add_argument("weights", nargs=2, help="bundled name, folder, or owner/name on the Hub")
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    options = parser.parse_args(arguments)
    try:
        average(*(resolve(name) for name in options.weights), options.out)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
