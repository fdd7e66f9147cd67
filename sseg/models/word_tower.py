"""A text as the mean of its words; a word that no caption held is read as the known words nearest to it.

A known word has an embedding of its own, learned from pictures, beside a linear map of its word vector, which comes
from texts alone (`train/word_vectors.py`): what is learned of "sofa" serves "armchair", too. For each other word of the
vocabulary a table says which known words are nearest to it by those vectors: "lorry" is read as truck, bus and van.
"""

import torch
from torch import Tensor, nn


class WordTower(nn.Module):
    """Token ids -> text states.

    Args:
        vocabulary: number of words; the first `known` are known, special tokens among them.
        vector_dim: numbers of a stored word vector.
        neighbours: known words that stand for an unseen one.
        width: numbers of a text state.
        forget: share of words whose own embedding is left out in training, so that the vectors alone have to do.
    """

    vectors: Tensor
    nearest: Tensor
    nearness: Tensor
    weights: Tensor

    def __init__(self, vocabulary: int, known: int, vector_dim: int, neighbours: int, width: int, forget: float = 0.2):
        super().__init__()
        self.own = nn.Embedding(known, width)
        self.read = nn.Linear(vector_dim, width)
        self.forget = forget
        unseen = vocabulary - known
        self.register_buffer("vectors", torch.zeros(known, vector_dim))
        self.register_buffer("nearest", torch.zeros(unseen, neighbours, dtype=torch.int16))  # ids of known words
        self.register_buffer("nearness", torch.zeros(unseen, neighbours))  # shares that sum to 1; all 0: none is near
        self.register_buffer("weights", torch.ones(vocabulary))  # 0: a word that says nothing ("the")
        nn.init.normal_(self.own.weight, std=0.3)

    @property
    def known(self) -> int:
        """Number of words with an embedding of their own."""
        return self.own.num_embeddings

    def states(self, input_ids: Tensor) -> Tensor:
        """Ids (...) -> state of each word (..., width)."""
        states = self._known_states(input_ids.clamp(max=self.known - 1))
        unseen = input_ids >= self.known
        if unseen.any():
            rows = (input_ids - self.known)[unseen]
            found = self._known_states(self.nearest[rows].long())  # (M, neighbours, width)
            states[unseen] = (found * self.nearness[rows][..., None]).sum(1).to(states.dtype)
        return states

    def _known_states(self, ids: Tensor) -> Tensor:
        own = self.own(ids)
        if self.training:
            own = own * (torch.rand(ids.shape, device=ids.device) >= self.forget)[..., None]
        return own + self.read(self.vectors[ids])

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Ids and mask (P, L) -> (P, width): the mean over the words that say something, else over all."""
        share = self.weights[input_ids] * attention_mask
        share = torch.where(share.sum(1, keepdim=True) > 0, share, attention_mask.to(share.dtype))
        return (self.states(input_ids) * share[..., None]).sum(1) / share.sum(1, keepdim=True).clamp(min=1)
