"""A byte-level BPE tokenizer, trained on the captions that the text tower will read."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from sseg.text import END, PAD, START


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
