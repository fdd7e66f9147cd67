"""A text as the mean of its words, each read from a stored word vector: words that no caption held mean something, too.

The vectors come from texts alone (`train/word_vectors.py`), and stay as they are. Words that captions did hold have an
embedding of their own beside it, so that what pictures teach about "grass" is not bound to what texts say of it.
"""

import torch
from torch import Tensor, nn


class WordTower(nn.Module):
    """Token ids -> text states.

    Args:
        vocabulary: number of words; ids below `learned` have an embedding of their own.
        vector_dim: numbers of a stored vector.
        width: numbers of a text state.
        forget: share of words whose own embedding is left out in training, so that the vectors alone have to do.
    """

    def __init__(self, vocabulary: int, learned: int, vector_dim: int, width: int, forget: float = 0.2):
        super().__init__()
        self.own = nn.Embedding(learned, width)
        self.read = nn.Linear(vector_dim, width)
        self.forget = forget
        self.register_buffer("vectors", torch.zeros(vocabulary, vector_dim))
        self.register_buffer("weights", torch.ones(vocabulary))  # 0: a word that says nothing ("the")
        nn.init.normal_(self.own.weight, std=0.3)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask (P, L) -> (P, width): the mean over the words that say something, else over all."""
        own = self.own(input_ids.clamp(max=self.own.num_embeddings - 1))  # (P, L, width)
        known = input_ids < self.own.num_embeddings
        if self.training:
            known = known & (torch.rand(input_ids.shape, device=input_ids.device) >= self.forget)
        states = self.read(self.vectors[input_ids]) + own * known[..., None]
        share = self.weights[input_ids] * attention_mask
        share = torch.where(share.sum(1, keepdim=True) > 0, share, attention_mask.to(share.dtype))
        return (states * share[..., None]).sum(1) / share.sum(1, keepdim=True).clamp(min=1)
