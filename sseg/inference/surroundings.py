"""What lies around things: words for surroundings share the likelihood of the background.

Behind frozen maps of photographs, whether a region is a thing at all is learned from the border (`train/ground.py`), as
one word of its own, `BACKGROUND`; which surroundings a region is, grass or sky, is learned from captions. In use the
two meet: where the background is likelier than all words for surroundings together, these are raised to it together.
"""

from torch import Tensor

BACKGROUND = "background"  # the word that stands for all surroundings; captions talk with it, and do not teach it


def lift(background: Tensor, surroundings: Tensor) -> Tensor:
    """What is added to the logits of all words for surroundings: (N,) and (N, S) logits -> (N,), at least 0."""
    return (background - surroundings.logsumexp(1)).clamp(min=0)
