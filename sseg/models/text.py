"""Phrases to token ids. The tokenizer's files lie beside the weights; the text transformer is in `model.py`."""

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerFast

START, END, PAD = "<|start|>", "<|end|>", "<|pad|>"


def load_tokenizer(folder) -> PreTrainedTokenizerFast:
    """The tokenizer stored in a weights folder (`tokenizer.json`, `tokenizer_config.json`)."""
    return PreTrainedTokenizerFast.from_pretrained(Path(folder), local_files_only=True)


def tokenize(tokenizer, texts: list[str], max_length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Texts -> token ids and attention mask, both (P, L) int64, L at most `max_length`.

    A longer text is cut, and keeps its end-of-text token: that is where the text transformer is read.
    """
    batch = tokenizer(list(texts), padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    return batch["input_ids"], batch["attention_mask"]
