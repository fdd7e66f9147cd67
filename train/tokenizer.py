"""The tokenizer of the text tower: a byte-level BPE trained on the captions, or a ready one by name."""

from collections.abc import Iterable
from pathlib import Path

from huggingface_hub import snapshot_download
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from sseg.errors import SSegError
from sseg.models.text import END, PAD, START
from train.recipe.pretraining import Tokenizer as TokenizerRecipe

FILES = ["tokenizer*", "vocab*", "merges.txt", "special_tokens_map.json", "config.json"]  # not a repository's weights


def make_tokenizer(recipe: TokenizerRecipe, captions: Iterable[str]) -> PreTrainedTokenizerFast:
    """What a recipe's `tokenizer` says: one of `vocab_size` is trained, one with a `name` is fetched.

    Raises:
        SSegError: it says neither or both; the named one is neither a folder nor to be had from the Hub, or does not
            pad and end its texts.
    """
    if (recipe.name is None) == (recipe.vocab_size is None):
        raise SSegError("tokenizer has either a vocab_size, to be learned, or the name of a ready one: write one.")
    if recipe.vocab_size:
        return train_tokenizer(captions, recipe.vocab_size, recipe.max_length)
    name = recipe.name
    try:
        folder = name if Path(name).is_dir() else snapshot_download(name, allow_patterns=FILES)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, model_max_length=recipe.max_length)
    except Exception as error:  # networks, proxies and the Hub fail in many types
        raise SSegError(
            f'The tokenizer "{name}" is not a folder of one, and the Hub does not give it: check name and connection.'
        ) from error
    if tokenizer.pad_token_id is None or tokenizer("a").input_ids[-1] != tokenizer.eos_token_id:
        raise SSegError(f'The tokenizer "{name}" does not pad and end its texts as the text tower needs: name another.')
    return tokenizer


def train_tokenizer(captions: Iterable[str], vocab_size: int = 4096, max_length: int = 32) -> PreTrainedTokenizerFast:
    """Learn merges from captions; ids 0, 1, 2 are padding, end and start, as `SSegConfig` expects.

    Bytes are the alphabet, so no text is out of vocabulary; case is folded, as in CLIP's tokenizer.
    """
    bpe = Tokenizer(models.BPE())
    bpe.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[PAD, END, START],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(captions, trainer)
    bpe.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, bpe.token_to_id(START)), (END, bpe.token_to_id(END))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe, pad_token=PAD, bos_token=START, eos_token=END, model_max_length=max_length
    )
