"""S-Seg: a MaskFormer without class head, a text transformer, two projections and a temperature.

Zihang Lai, "Exploring Simple Open-Vocabulary Semantic Segmentation" (arXiv 2401.12217). Segmenter and text tower are
transformers' own; what is ours is what a mask feature is and how masks and texts meet in one space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextModel, MaskFormerModel, PreTrainedModel
from transformers.models.maskformer.modeling_maskformer import MaskformerMLPPredictionHead

from sseg.models.config import SSegConfig
from sseg.models.map_clusters import cluster
from sseg.models.word_tower import WordTower

SURE = 30.0  # logit of a cell in its cluster


@dataclass
class ImageOutput:
    """What the image tower says of a batch of pictures.

    mask_logits: (B, N, h, w), h = H / `mask_stride`; layer_mask_logits: (D, B, N, h, w), one for each decoder layer;
    mask_features: (B, N, D), what the meaning of each mask is read from; mask_embeddings: (B, N, E) of unit length;
    image_embeddings: (B, E) of unit length, the projection of the mean mask feature (the paper's image vector);
    pixel_features: (B, C, h, w). Where meaning was read from kept features of masks, there are neither masks nor pixel
    features.
    """

    mask_logits: Tensor | None
    layer_mask_logits: Tensor | None
    mask_features: Tensor
    mask_embeddings: Tensor
    image_embeddings: Tensor
    pixel_features: Tensor | None


def pool_under_masks(features: Tensor, mask_logits: Tensor) -> Tensor:
    """Mean of pixel features under each soft mask: (B, C, h, w) and (B, N, h', w') -> (B, N, C).

    The masks carry no gradient here: shapes are learned from pseudo-masks alone, meaning cannot bend them.
    """
    masks = mask_logits.detach().sigmoid()
    if masks.shape[-2:] != features.shape[-2:]:
        masks = F.adaptive_avg_pool2d(masks, features.shape[-2:])  # type: ignore[arg-type]
    weights = masks.flatten(2) / masks.flatten(2).sum(-1, keepdim=True).clamp(min=1e-4)  # (B, N, hw)
    return weights.to(features.dtype) @ features.flatten(2).transpose(1, 2)


def end_states(tower: CLIPTextModel, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
    """`tower`'s state at each text's last token: ids and mask (P, L), padded behind the texts, -> (P, width).

    Its `pooler_output` in two thirds of the time (mini, a text of 15 tokens): a causal tower never looks at what comes
    behind, so padding needs no mask, and the last layer is worked out for the last tokens alone.
    """
    *layers, last = tower.encoder.layers
    states = tower.embeddings(input_ids)  # (P, L, width)
    for layer in layers:
        states = _run_layer(layer, states, slice(None), is_causal=True)
    rows = torch.arange(len(states), device=states.device)
    at_end = rows[:, None], attention_mask.sum(1, keepdim=True) - 1
    ends = _run_layer(last, states, at_end, attn_mask=attention_mask.bool()[:, None, None])  # (P, 1, width)
    return tower.final_layer_norm(ends[:, 0])


def _run_layer(layer, states: Tensor, places, **looking) -> Tensor:
    """New states of the tokens at `places` (an index), which look at all `states` (P, L, width) as far as `looking`
    (a mask for the attention) lets them. The modules are transformers' own."""
    attention, normed = layer.self_attn, layer.layer_norm1(states)
    projected = attention.q_proj(normed[places]), attention.k_proj(normed), attention.v_proj(normed)
    heads = (t.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for t in projected)  # (P, heads, L, d)
    seen = F.scaled_dot_product_attention(*heads, **looking).transpose(1, 2).flatten(2)
    states = states[places] + attention.out_proj(seen)
    return states + layer.mlp(layer.layer_norm2(states))


def merge_alike(features: Tensor, areas: Tensor, embeddings: Tensor, sharpness: float) -> Tensor:
    """Features of each region together with the regions that mean the same: (B, N, C) -> (B, N, C).

    A mean weighted by area and by exp(sharpness * (cosine of embeddings - 1)): what is one thing in several masks is
    read as one, from all of its pixels. `areas` (B, N) in pixels; `embeddings` (B, N, E) of unit length.
    """
    share = torch.exp(sharpness * (embeddings @ embeddings.transpose(1, 2) - 1)) * areas[:, None]  # (B, N, N)
    return share.to(features.dtype) @ features / share.sum(-1, keepdim=True).clamp(min=1e-4)


class Projector(nn.Sequential):
    """Two layers into the common space (paper.md, section 2); LayerNorm, so that it is the same in training and use."""

    def __init__(self, in_dim: int, hidden_dim: int, out_dim: int):
        super().__init__(
            nn.Linear(in_dim, hidden_dim), nn.LayerNorm(hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim)
        )


class SSegModel(PreTrainedModel):
    """Pictures -> masks with embeddings; texts -> embeddings in the same space."""

    config_class = SSegConfig
    base_model_prefix = "sseg"
    main_input_name = "pixel_values"
    feature_mean: Tensor
    feature_std: Tensor
    seen_regions: Tensor

    def __init__(self, config: SSegConfig):
        super().__init__(config)
        self.segmenter = MaskFormerModel(config.maskformer_config())
        self.mask_embedder = MaskformerMLPPredictionHead(config.hidden_dim, config.hidden_dim, config.fpn_dim)
        self.image_projection = Projector(self.feature_dim, config.projector_dim, config.embed_dim)
        if config.mask_feature in ("encoder", "both"):  # features of unit deviation, see `read_masks`
            self.register_buffer("feature_mean", torch.zeros(self.feature_dim))
            self.register_buffer("feature_std", torch.ones(self.feature_dim))
        self.text_tower = text_tower(config)
        self.text_projection = Projector(config.text_width, config.projector_dim, config.embed_dim)
        if config.prior_regions:  # embeddings of masks of training pictures, see `offsets`
            self.register_buffer("seen_regions", torch.zeros(config.prior_regions, config.embed_dim))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / config.temperature)))
        # transformers starts queries at deviation 0.02: nearly equal, they learn the same mask for long.
        nn.init.normal_(self.segmenter.transformer_module.queries_embedder.weight)  # as facebookresearch/MaskFormer
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module):
        """The parts of transformers initialise themselves; projections keep torch's default."""

    @property
    def scale(self) -> Tensor:
        """1 / temperature, at most 100 (CLIP's and GroupViT's bound)."""
        return self.logit_scale.exp().clamp(max=100)

    @property
    def encoder(self) -> nn.Module:
        """The image encoder: what makes maps of pictures."""
        return self.segmenter.pixel_level_module.encoder

    @property
    def regions(self) -> int:
        """N, regions of a picture."""
        return self.config.region_clusters or self.config.num_queries

    @property
    def feature_dim(self) -> int:
        """Numbers that a mask's meaning is read from."""
        of_decoder = self.config.fpn_dim * len(self.config.mask_feature_levels)
        of_encoder = sum(self.encoder.channels)  # type: ignore[arg-type]
        sizes = {"query": self.config.hidden_dim, "pooled": of_decoder, "encoder": of_encoder}
        return sizes.get(self.config.mask_feature, of_encoder + of_decoder)

    def encode_image(self, pixel_values: Tensor) -> ImageOutput:
        """Normalised pictures (B, 3, H, W), H and W multiples of 32 -> `ImageOutput`."""
        return self.from_maps(self.encoder(pixel_values).feature_maps)

    def mask_features(self, maps: Sequence[Tensor]) -> Tensor:
        """What the meaning of each mask is read from, of the encoder's maps: (B, N, `feature_dim`)."""
        return self._masks(maps)[1]

    def from_maps(self, maps: Sequence[Tensor], clusters: int | None = None) -> ImageOutput:
        """The encoder's maps (B, C, h, w), fine to coarse -> `ImageOutput`; a frozen encoder's can be kept.

        clusters: K of the regions, instead of the weights' own `region_clusters`.
        """
        clusters = clusters or self.config.region_clusters
        masks, mask_features, features = self._clusters(maps, clusters) if clusters else self._masks(maps)
        means = self.embed_features(mask_features.mean(1))
        embeddings = self.embed_features(mask_features)
        for _ in range(0 if self.training else self.config.merge_steps):
            areas = masks[-1].sigmoid().sum((2, 3))
            merged = merge_alike(mask_features, areas, embeddings, self.config.merge_sharpness)
            embeddings = self.embed_features(merged)
        return ImageOutput(masks[-1], masks, mask_features, embeddings, means, features)

    def _clusters(self, maps: Sequence[Tensor], k: int) -> tuple[Tensor, Tensor, Tensor]:
        """As `_masks`, with K-Means clusters of the maps as masks: logits of `SURE` in the cluster, else of -`SURE`."""
        k = min(k, maps[-2].shape[2] * maps[-2].shape[3])  # a tiny picture has fewer cells
        ids = cluster(list(maps), k, seeds=0).long()  # (B, h, w)
        masks = (2.0 * F.one_hot(ids, k).permute(0, 3, 1, 2) - 1) * SURE
        sized = [F.interpolate(masks, one.shape[2:]) if one.shape[2:] != masks.shape[2:] else masks for one in maps]
        features = [pool_under_masks(one, mask) for one, mask in zip(maps, sized, strict=True)]
        return masks[None], torch.cat(features, dim=-1), maps[0]

    def _masks(self, maps: Sequence[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Mask logits of all layers (D, B, N, h, w), features of the last one's masks, pixel features."""
        pixels = self.segmenter.pixel_level_module.decoder(list(maps), output_hidden_states=True)
        features = pixels.last_hidden_state  # (B, C, h, w) at `mask_stride`
        decoder = self.segmenter.transformer_module(maps[-1], output_hidden_states=True, return_dict=True)
        queries = torch.stack(decoder.hidden_states[1:])  # (D, B, N, hidden), the first entry is the empty input
        masks = torch.einsum("dbnc,bchw->dbnhw", self.mask_embedder(queries), features)
        mask_features = self.read_masks(masks[-1], queries[-1], maps, pixels.hidden_states)
        return masks, mask_features, features

    def read_masks(
        self, masks: Tensor, queries: Tensor | None, maps: Sequence[Tensor], levels: Sequence[Tensor]
    ) -> Tensor:
        """What the meaning of each mask is read from: (B, N, `feature_dim`).

        Args:
            masks: (B, N, h, w) logits; queries: (B, N, hidden).
            maps: the encoder's, fine to coarse; levels: the pixel decoder's, coarse to fine, each (B, C, h', w').
        """
        kind = self.config.mask_feature
        if kind == "query":
            return queries  # type: ignore[return-value]  # which are there for this kind
        features = [pool_under_masks(one, masks) for one in maps] if kind in ("encoder", "both") else []
        if kind in ("pooled", "both"):
            width = self.config.mask_stride * levels[-1].shape[-1]  # of the image
            by_stride = {round(width / level.shape[-1]): level for level in levels}
            features += [pool_under_masks(by_stride[s], masks) for s in self.config.mask_feature_levels]
        return torch.cat(features, dim=-1)

    def embed_regions(self, pixel_values: Tensor, mask_logits: Tensor) -> Tensor:
        """What given regions mean: normalised images (B, 3, H, W) and mask logits (B, N, h, w) at any stride ->
        embeddings (B, N, E) of unit length; for weights that read meaning under masks, not from queries."""
        maps = self.encoder(pixel_values).feature_maps
        levels = ()
        if self.config.mask_feature in ("pooled", "both"):
            levels = self.segmenter.pixel_level_module.decoder(list(maps), output_hidden_states=True).hidden_states
        return self.embed_features(self.read_masks(mask_logits, None, maps, levels))

    def embed_features(self, features: Tensor) -> Tensor:
        """Mask features (..., `feature_dim`) -> embeddings (..., E) of unit length."""
        if self.config.mask_feature in ("encoder", "both"):
            features = (features - self.feature_mean) / self.feature_std
        features = F.dropout(features, self.config.feature_dropout, self.training)
        return F.normalize(self.image_projection(features).float(), dim=-1)

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Token ids and mask (P, L) -> text embeddings (P, E) of unit length, read at the end-of-text token.

        That is the last token of each text; `attention_mask` is 0 for the padding behind it.
        """
        if self.config.text_tower == "words":
            ends = self.text_tower(input_ids, attention_mask)
        elif self.training:  # with the attention that training has chosen
            ends = self.text_tower(input_ids=input_ids, attention_mask=attention_mask).pooler_output  # (P, width)
        else:
            ends = end_states(self.text_tower, input_ids, attention_mask)  # type: ignore[arg-type]
        return F.normalize(self.text_projection(ends).float(), dim=-1)

    def offsets(self, texts: Tensor) -> Tensor:
        """What is taken off each text's logits in use: (T, E) -> (T,).

        `prior` x the logarithm of the mean of exp(scale x cosine) over masks of training pictures: what "man" fits on
        average, since every second caption says it. Dividing by it turns "which word is likely here" towards "for
        which word is this place likely" (an inverted softmax: Smith et al. 2017, arXiv 1702.03859).
        """
        if not (self.config.prior and self.config.prior_regions):
            return texts.new_zeros(len(texts))
        logits = texts @ self.seen_regions.T * self.use_scale  # (T, R)
        return self.config.prior * (logits.logsumexp(1) - math.log(logits.shape[1]))

    @property
    def use_scale(self) -> Tensor:
        """1 / temperature of scores in use."""
        return self.scale * self.config.scale_in_use

    def save_pretrained(self, *args, **kwargs):
        """As transformers does it, with tensors under the names that this class has (its own renaming left out)."""
        super().save_pretrained(*args, **{"save_original_format": False} | kwargs)

    def forward(self, images, *texts: tuple[Tensor, Tensor]) -> tuple[ImageOutput, list[Tensor]]:
        """Both towers at once: what a training step needs.

        `pictures`: normalised (B, 3, H, W); a list of the encoder's maps of them; or the features of their masks
        (B, N, `feature_dim`), whose answer then has no masks. `texts`: batches of token ids and mask.
        """
        if not isinstance(images, Tensor):
            image = self.from_maps(images)
        elif images.ndim == 4:
            image = self.encode_image(images)
        else:
            means = self.embed_features(images.mean(1))
            image = ImageOutput(None, None, images, self.embed_features(images), means, None)
        return image, [self.encode_text(ids, mask) for ids, mask in texts]


def text_tower(config: SSegConfig) -> nn.Module:
    """The text tower that a configuration names."""
    if config.text_tower == "words":
        sizes = (config.text_vocab_size, config.text_known, config.text_vector_dim, config.text_neighbours)
        return WordTower(*sizes, config.text_width)
    return CLIPTextModel(config.text_config())
