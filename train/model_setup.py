"""A model as a recipe wants it: its tokenizer and sizes, the weights it starts from, kept maps, and its optimiser."""

import copy
import json
from pathlib import Path

import torch
from transformers import CONFIG_MAPPING

from sseg.checkpoint import load_model, resolve
from sseg.errors import SSegError, shown
from sseg.models.config import SSegConfig
from sseg.models.folding import fold_norms
from sseg.models.sseg import SSegModel
from sseg.models.text import load_tokenizer
from train.encoder_start import start_encoder
from train.recipe import Pretrain
from train.recipe.pretraining import Optimizer
from train.recipe.typed import check_key
from train.tokenizer import make_tokenizer
from train.word_vectors import load_words

SAMPLED = 20_000  # captions that a tokenizer is learned from, and known phrases are found in
STANDARDISED = 500  # photographs whose features give mean and deviation


def learning_share(recipe: Pretrain) -> float:
    """The encoder's share of the learning rate; 0: it is frozen."""
    return recipe.encoder.learn if recipe.encoder else 1.0


def open_tokenizer(recipe: Pretrain, out: Path, resume: bool, pairs):
    """The run's own where it goes on, that of the weights it starts from (ids must keep their meaning), or new."""
    if resume:
        return load_tokenizer(out)
    if recipe.init:
        return load_tokenizer(resolve(recipe.init))
    if recipe.tokenizer.words:
        return load_words(recipe.tokenizer.words)[0]
    return make_tokenizer(recipe.tokenizer, pairs.sample_captions(SAMPLED))


def model_config(recipe: Pretrain, tokenizer) -> SSegConfig:
    """Sizes of the recipe's `model`; the rest follows from its tokenizer and its last stage.

    Raises:
        SSegError: a value that the model does not take.
    """
    sizes = {
        "text_vocab_size": len(tokenizer),
        "text_max_length": recipe.tokenizer.max_length,
        "text_pad_token_id": tokenizer.pad_token_id,
        "text_eos_token_id": tokenizer.eos_token_id,
        "image_size": recipe.stages[-1].size,
    }
    if words := recipe.tokenizer.words:
        tensors = load_words(words)[1]
        known, numbers = tensors["vectors"].shape
        sizes |= {"text_known": known, "text_vector_dim": numbers, "text_neighbours": tensors["nearest"].shape[1]}
    try:
        return SSegConfig(**sizes | recipe.model)
    except (ValueError, TypeError) as error:
        raise SSegError(f"model: {str(error).splitlines()[0]} Change it in the recipe.") from error


def check_backbone(backbone: dict) -> None:
    """Raises SSegError: a kind or a key that transformers' backbones do not have, which it would pass over."""
    if "model_type" not in backbone:
        return  # one that takes its arguments by name
    if backbone["model_type"] not in CONFIG_MAPPING:
        raise SSegError(f"model.backbone.model_type is {shown(backbone['model_type'], 40)}: name one of transformers, "
                        "as resnet, swin or timm_backbone.")  # fmt: skip
    known = CONFIG_MAPPING[backbone["model_type"]]().to_dict()
    for key in backbone:
        check_key(key, known, "model.backbone")


def build_model(kind: type, config):
    """A model of random numbers, `kind`(config); SSegError where its sizes do not go together."""
    check_backbone(config.backbone)
    try:
        return kind(config)
    except (ValueError, TypeError, KeyError, AssertionError, RuntimeError) as error:  # of transformers, timm and torch
        said = (str(error) or type(error).__name__).splitlines()[0]
        raise SSegError(f"The recipe's model cannot be built ({said}): change model.") from error


def start_model(model: SSegModel, recipe: Pretrain) -> None:
    """Starting weights of a new run: the encoder's own past and the words' vectors, then those of `init`."""
    if recipe.encoder:
        start_encoder(model.encoder, recipe.model["backbone"]["backbone"], recipe.encoder.start)
    if model.config.text_tower == "words":
        model.text_tower.load_state_dict(load_words(recipe.tokenizer.words)[1], strict=False)
    if recipe.init:
        start_from(model, recipe.init, tuple(recipe.init_only or [""]))


def keep_maps(pairs, model: SSegModel, recipe: Pretrain, fresh: bool) -> None:
    """Maps of the frozen encoder for all pairs; of a fresh run's, mean and deviation of each feature."""
    config = model.config
    if learning_share(recipe):
        raise SSegError("Maps are kept of a frozen encoder alone: set encoder.learn to 0, or data.name to tars.")
    name = f"{config.backbone['backbone']}, {recipe.encoder.start}, {config.backbone.get('output_stride')}"
    encoder = copy.deepcopy(model.encoder)
    fold_norms(encoder)
    pairs.keep(encoder.to(memory_format=torch.channels_last), name, config.pixel_mean, config.pixel_std)
    if fresh and not recipe.init and config.mask_feature == "encoder":
        maps = pairs.batch(0, STANDARDISED, recipe.stages[0]).images
        mean, std = standard([one.flatten(2).transpose(1, 2).flatten(0, 1) for one in maps])
        model.feature_mean.copy_(mean)
        model.feature_std.copy_(std)


def ready_to_train(model: SSegModel) -> None:
    """What training does otherwise than use, in place."""
    if model.device.type == "cpu":  # plain attention trains a fifth faster here than the fused kernel
        model.set_attn_implementation("eager")
    for name, parameter in model.named_parameters():
        if "encoder.model.layernorm" in name:  # Swin never uses it here, several processes would wait
            parameter.requires_grad_(False)


def standard(levels: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of each feature over cells: levels (cells, C) each -> two (sum of C,)."""
    means = torch.cat([level.mean(0) for level in levels])
    return means, torch.cat([level.std(0) for level in levels]).clamp(min=1e-4)


def start_from(model: SSegModel, weights: str, only: tuple[str, ...] = ("",)) -> None:
    """Take the tensors of other weights (a bundled name, a folder, a Hub id) that have the same sizes: those whose name
    begins with one of `only`.

    A ResNet may have more blocks a stage than theirs: those that they lack begin as identities (the last norm of a
    residual block at zero, Goyal et al. 2017), so the deeper model starts with the answers of the weights.
    """
    # here, since `sseg` has to mend torchvision before transformers imports it
    from transformers.models.resnet.modeling_resnet import ResNetBasicLayer, ResNetBottleNeckLayer

    tensors = load_model(resolve(weights)).state_dict()
    kinds = (ResNetBasicLayer, ResNetBottleNeckLayer)
    blocks = {name: block for name, block in model.named_modules() if isinstance(block, kinds)}
    added = {name: block for name, block in blocks.items() if f"{name}.layer.0.convolution.weight" not in tensors}
    for name, own in model.state_dict().items():
        if not name.startswith(only) or name.startswith(tuple(f"{block}." for block in added)):
            tensors[name] = own
        elif name not in tensors or tensors[name].shape != own.shape:
            raise SSegError(f"The recipe's model does not fit init: {weights}, {name} is not the same; take its sizes.")
    model.load_state_dict({name: tensors[name] for name in model.state_dict()})
    for block in added.values():
        torch.nn.init.zeros_(block.layer[-1].normalization.weight)


def read_words(folder: Path) -> dict[str, int]:
    """How often the captions of a weights folder's training said each word; empty where nobody recorded it."""
    file = Path(folder) / "vocabulary.json"
    return json.loads(file.read_text(encoding="utf-8")).get("words", {}) if file.is_file() else {}


def make_optimizer(model: SSegModel, recipe: Optimizer, learn: float = 1.0) -> torch.optim.AdamW:
    """AdamW; no decay on biases, norms, embeddings of queries, temperature; the encoder at `learn` of the rate."""
    encoder = {id(p) for p in model.encoder.parameters()} if learn != 1.0 else set()
    groups: dict[tuple[float, float], list] = {}
    for name, parameter in model.named_parameters():
        plain = parameter.ndim <= 1 or "queries_embedder" in name
        share = learn if id(parameter) in encoder else 1.0
        if share:
            groups.setdefault((0.0 if plain else recipe.weight_decay, share), []).append(parameter)
    groups = [{"params": some, "weight_decay": decay, "share": share} for (decay, share), some in groups.items()]
    return torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas)
