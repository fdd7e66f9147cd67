"""The configuration of S-Seg: one class for the paper's size and for the small ones."""

from transformers import CLIPTextConfig, MaskFormerConfig, PreTrainedConfig

from sseg.arguments import BACKGROUND, check_background

# Swin-S, 64 queries, 6 decoder layers, 12 x 256 text transformer with CLIP's vocabulary (paper.md, section 2).
PAPER = {
    "backbone": {"model_type": "swin", "embed_dim": 96, "depths": [2, 2, 18, 2], "num_heads": [3, 6, 12, 24]}
    | {"window_size": 7, "drop_path_rate": 0.3, "image_size": 448},
    "fpn_dim": 256,
    "hidden_dim": 256,
    "num_queries": 64,
    "decoder_layers": 6,
    "decoder_heads": 8,
    "decoder_ffn_dim": 2048,
    "decoder_dropout": 0.1,
    "text_vocab_size": 49408,
    "text_layers": 12,
    "text_width": 256,
    "text_heads": 4,
    "text_max_length": 77,
    "text_eos_token_id": 49407,
    "text_pad_token_id": 49407,
    "embed_dim": 256,
    "projector_dim": 4096,
    "image_size": 448,
    "mask_feature": "query",
    "prompt": "a photo of a {}",
}
MASK_FEATURES = ("query", "pooled", "encoder", "both")
TEXT_TOWERS = ("transformer", "words")


class SSegConfig(PreTrainedConfig):
    """Sizes and choices of an `SSegModel`; the defaults are the small size, `SSegConfig(**PAPER)` is the paper's.

    Args:
        backbone: a transformers backbone config as a dict with its `model_type` (swin, resnet ...), four feature maps
            at strides 4, 8, 16, 32; or any feature extractor of timm by its name: {"model_type": "timm_backbone",
            "backbone": NAME, "out_indices": [...], "output_stride": 16 or 32, "freeze_batch_norm_2d": true}.
        fpn_dim: channels of the pixel decoder (a multiple of 32, its GroupNorm has 32 groups).
        hidden_dim: width of the transformer decoder.
        num_queries: N, masks an image.
        mask_feature: what a mask's meaning is read from: "query" (the decoder's output, as MaskFormer), "pooled"
            (pixel features averaged under the predicted mask; at small size only this localises, docs/log.md),
            "encoder" (the encoder's own maps averaged under it, of unit deviation), or "both" of these averages.
        mask_feature_levels: pixel decoder levels that are pooled: 4, 8, 16 = strides.
        feature_dropout: share of a mask's features that are left out in training.
        mask_stride: pixels of the picture along a cell of the masks: the stride of the encoder's finest map.
        text_tower: "transformer" (the paper's), or "words": a text is the mean of its words; the first `text_known` of
            the vocabulary have an embedding of their own beside a word vector of `text_vector_dim` numbers, the others
            are read as the `text_neighbours` known words that are nearest to them (`sseg.models.word_tower`).
        embed_dim: E, the space shared by masks and phrases.
        image_size: longer side in pixels at which the weights see a picture.
        merge_steps: how often regions that mean the same are read together (`models.sseg.merge_alike`), in use, not in
            training; 0: each region by itself. `merge_sharpness`: how alike they have to be.
        refine_clusters: K of the clusters of colour and place that masks are smoothed over, in use
            (`sseg.inference.smooth_masks`); 0: masks stay as the network gives them.
        outlines: whether masks, in use, follow the picture's colours at four times their resolution
            (`sseg.pseudo_masks.edges.soft_follow`).
        scales: long sides at which a picture is looked at in use, as shares of `image_size`, the first of them 1;
            `mirrored`: at each also mirrored. Scores are the mean over these views.
        region_clusters: K: regions are K-Means clusters of the encoder's maps (`models.map_clusters`), the pseudo-masks
            themselves, instead of the masks that MaskFormer learned from them; 0: the masks. Behind a frozen encoder,
            on photographs, clusters are named better (docs/log.md).
        scale_in_use: share of the learned scale (1 / temperature) that scores have in use: training makes them sharper
            than they are right.
        prior: how much of what a phrase fits on average is taken off its logits, 0..1 (`SSegModel.offsets`): words that
            captions say often fit everything a little. Measured on `prior_regions` masks of training pictures.
        handicap: taken off the logits of known words that nobody asked for: what is asked for is likelier to be there.
        contrast: how much a phrase's scores are measured against the highest that it has in the picture, 0..1
            (`sseg.inference.contrast`).
        too_close: cosine above which a known word does not compete with an asked phrase: it means the same.
        prompt: how a phrase is put to the text tower.
        combine: how masks and phrases become scores, "soft" or "hard" (see `sseg.inference.mask_weights`).
        background: score, 0..1 in hundredths, below which nothing that was asked for is there; chosen on a split that
            the weights' card names.
    """

    model_type = "sseg"

    backbone: dict | None = None
    fpn_dim: int = 96
    hidden_dim: int = 128
    num_queries: int = 24
    decoder_layers: int = 2
    decoder_heads: int = 4
    decoder_ffn_dim: int = 256
    decoder_dropout: float = 0.0
    mask_feature: str = "pooled"
    mask_feature_levels: list | tuple = (4,)
    mask_stride: int = 4
    feature_dropout: float = 0.0
    text_tower: str = "transformer"
    text_known: int = 0
    text_neighbours: int = 0
    text_vector_dim: int = 0
    text_vocab_size: int = 4096
    text_layers: int = 2
    text_width: int = 192
    text_heads: int = 4
    text_max_length: int = 32
    text_pad_token_id: int = 0
    text_eos_token_id: int = 1
    embed_dim: int = 192
    projector_dim: int = 384
    image_size: int = 128
    pixel_mean: list | tuple = (0.485, 0.456, 0.406)
    pixel_std: list | tuple = (0.229, 0.224, 0.225)
    temperature: float = 0.07
    region_clusters: int = 0
    scale_in_use: float = 1.0
    prior: float = 0.0
    prior_regions: int = 0
    handicap: float = 0.0
    contrast: float = 0.0
    too_close: float = 0.8
    prompt: str = "{}"
    combine: str = "soft"
    merge_steps: int = 0
    merge_sharpness: float = 15.0
    refine_clusters: int = 0
    outlines: bool = False
    scales: list | tuple = (1.0,)
    mirrored: bool = False
    background: float = BACKGROUND

    def __post_init__(self, **kwargs):
        super().__post_init__(**kwargs)
        if self.backbone is None:
            self.backbone = {"model_type": "resnet", "layer_type": "basic", "embedding_size": 32}
            self.backbone |= {"hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 2, 2]}
        if self.mask_feature not in MASK_FEATURES:
            raise ValueError(f"mask_feature is one of {', '.join(MASK_FEATURES)}, not {self.mask_feature!r}.")
        if self.text_tower not in TEXT_TOWERS:
            raise ValueError(f"text_tower is one of {', '.join(TEXT_TOWERS)}, not {self.text_tower!r}.")
        check_background(self.background)

    def maskformer_config(self) -> MaskFormerConfig:
        """transformers' configuration of the segmenter: backbone, FPN pixel decoder, DETR decoder."""
        backbone = dict(self.backbone or {})
        if backbone["model_type"] != "timm_backbone":
            backbone.setdefault("out_features", ["stage1", "stage2", "stage3", "stage4"])
        decoder = {"model_type": "detr", "d_model": self.hidden_dim, "num_queries": self.num_queries}
        decoder |= {"decoder_layers": self.decoder_layers, "decoder_ffn_dim": self.decoder_ffn_dim}
        decoder |= {"decoder_attention_heads": self.decoder_heads, "encoder_attention_heads": self.decoder_heads}
        decoder |= {"dropout": self.decoder_dropout}
        return MaskFormerConfig(
            backbone_config=backbone,
            decoder_config=decoder,
            fpn_feature_size=self.fpn_dim,
            mask_feature_size=self.fpn_dim,
        )

    def text_config(self) -> CLIPTextConfig:
        """transformers' configuration of the text transformer (causal, read at the end-of-text token)."""
        return CLIPTextConfig(
            vocab_size=self.text_vocab_size,
            hidden_size=self.text_width,
            intermediate_size=4 * self.text_width,
            num_hidden_layers=self.text_layers,
            num_attention_heads=self.text_heads,
            max_position_embeddings=self.text_max_length,
            pad_token_id=self.text_pad_token_id,
            eos_token_id=self.text_eos_token_id,
            bos_token_id=None,
            projection_dim=self.embed_dim,
        )
