"""Features of a plain ViT from timm by its name there: DINO (paper, section 3), DINOv2, DINOv3, MAE, CLIP, ..."""

import difflib
import threading

import torch
import torch.nn.functional as F
from safetensors import SafetensorError

from sseg import hub
from sseg.errors import SSegError, SSegValueError
from sseg.features.base import NAMES, FeatureSource, check_facet, check_pixels, normalised

DINO = "vit_small_patch8_224.dino"
DINO_LABEL = "DINO ViT-S/8, learned from ImageNet without labels"
WEIGHTS = "model.safetensors"
EXAMPLE = "vit_small_patch14_dinov2.lvd142m"
TOKENS_AT_ONCE = 16_384  # patches that go through the network together: five pictures of 56 x 56


class ViTFeatures(FeatureSource):
    """What the last layer of a ViT says of each patch, as a unit vector; the picture is resized to one patch a cell.

    Facets: "tokens", the output of the last layer after the norm. "keys", those of the last attention, all heads side
    by side: after their norm where the model has one, before the rotation where positions are rotary, since that would
    set equal things apart by their places.
    """

    facets: tuple[str, ...] = ("tokens", "keys")

    def __init__(self, name: str = "dino", facet: str | None = None, device="cpu", patience: float | None = None,
                 fetch: bool = True):  # fmt: skip
        """Weights come from timm's repository on the Hub, or from the local cache without a look at the network.

        Args:
            name: "dino", or a model of timm with its tag, as "vit_small_patch14_dinov2.lvd142m".
            facet: one of `facets`; None is the first.
            patience: seconds within which the Hub has to say that it has the weights; None: as `hub.snapshot`.
            fetch: whether weights that are not in the cache may be fetched at all.

        Raises:
            SSegError: no such model, not a plain ViT, no such facet, or weights that are damaged or cannot be had; the
                last has a `hub.HubError` for its cause.
        """
        model_name = DINO if name == "dino" else name
        repo, revision = _repository(model_name)
        self.name, self.label = name, DINO_LABEL if name == "dino" else f"{name} of timm"
        with torch.device("meta"):  # what kind of model it is, before anything is downloaded
            model = _plain_vit(model_name)
        if _key_norm(model) is None:
            self.facets = ("tokens",)
        check_facet(self, facet)
        self.facet = facet or "tokens"
        self.model = _load(model_name, _weights(model_name, repo, revision, patience, fetch)).to(device)
        self.stride = self.model.patch_embed.patch_size[0]
        self._seen = threading.local()  # the keys of the forward pass that a thread is in
        if self.facet == "keys":
            _key_norm(self.model).register_forward_hook(self._keep_keys)

    def __call__(self, pixels, grid):
        """pixels (B, 3, H, W) uint8, grid (h, w) -> unit vectors (B, h, w, d) float32 on the device of the pixels."""
        check_pixels(pixels, grid)
        rows, columns = grid
        batches = pixels.split(max(1, TOKENS_AT_ONCE // (rows * columns)))
        found = torch.cat([self._run(batch, grid).to(pixels.device) for batch in batches])  # (B, T, d)
        return F.normalize(found, dim=-1).unflatten(1, (rows, columns))

    @torch.inference_mode()
    def _run(self, pixels, grid):
        config, weight = self.model.pretrained_cfg, self.model.patch_embed.proj.weight
        size = tuple(cells * self.stride for cells in grid)
        x = normalised(pixels, size, config["mean"], config["std"], weight.device)
        with torch.autocast(weight.device.type, torch.bfloat16, enabled=weight.device.type == "cuda"):
            tokens = self.model.forward_features(x)  # (B, prefix + T, d)
        if self.facet == "keys":
            tokens = self._seen.keys.transpose(1, 2).flatten(2)
            del self._seen.keys
        return tokens[:, self.model.num_prefix_tokens :].float()

    def _keep_keys(self, module, inputs, keys):  # (B, heads, prefix + T, d / heads)
        self._seen.keys = keys


def _repository(name):
    """Repository and revision of a model's weights on the Hub."""
    import timm

    try:
        config = timm.get_pretrained_cfg(name)
    except RuntimeError:  # a known model with an unknown tag
        config = None
    if config is None:
        raise SSegValueError(f"There is no feature source {name!r}: {_advice(name)}.")
    if not config.hf_hub_id:
        raise SSegError(f"The Hub has no weights of {name!r} for timm: choose another model, such as {EXAMPLE}.")
    repo, _, revision = config.hf_hub_id.partition("@")
    return repo, revision or None


def _advice(name):
    import timm

    vits = timm.list_models(module=("vision_transformer", "eva", "deit"), pretrained=True)
    if close := difflib.get_close_matches(name, [*NAMES, *vits], 3):
        return f"did you mean {' or '.join(close)}"
    return f"choose one of {', '.join(NAMES)}, or a ViT by its name in timm, such as {EXAMPLE}"


def _plain_vit(name, **options):
    """The model of timm for pictures of any size, or an SSegError if it is not a ViT with a token a patch."""
    import timm
    from timm.layers import PatchEmbed
    from timm.models import Eva, VisionTransformer

    try:
        model = timm.create_model(name, dynamic_img_size=True, **options)
    except TypeError:  # models that are built for one size only, or for no size at all, have no such option
        model = None
    if not (isinstance(model, (VisionTransformer, Eva)) and isinstance(model.patch_embed, PatchEmbed)):
        raise SSegValueError(
            f"The features {name!r} cannot be had: it is not a plain ViT; choose one, such as {EXAMPLE}."
        )
    return model


def _key_norm(model):
    """What the keys of the last attention run through, an identity in most models; None if it is built otherwise."""
    return getattr(getattr(model.blocks[-1], "attn", None), "k_norm", None)


def at_hand(name: str = DINO) -> bool:
    """Whether the weights of that model of timm are in the local cache; the network is not looked at."""
    repo, revision = _repository(name)
    return hub.cached(repo, revision, WEIGHTS) is not None


def _weights(name, repo, revision, patience, fetch):
    if found := hub.cached(repo, revision, WEIGHTS):
        return found
    if not fetch:
        sentence = f"The weights of {name!r} are not on this machine: fetch them, or choose the features mini."
        raise SSegError(sentence) from hub.HubError("nothing was to be fetched")
    try:
        if patience is not None:
            hub.ask(repo, revision, WEIGHTS, patience)
        file = hub.snapshot(repo, revision, [WEIGHTS]) / WEIGHTS
        if not file.is_file():
            raise hub.HubError(f"its repository has no {WEIGHTS}, and a pickle is never read")
    except hub.HubError as error:
        sentence = f"The weights of {name!r} could not be fetched: {error}; choose the features mini or pixels."
        raise SSegError(sentence) from error
    return file


def _load(name, file):
    source = {"file": str(file), "custom_load": False}
    try:
        with torch.random.fork_rng(devices=[]):  # timm draws numbers, which the weights then replace
            model = _plain_vit(name, pretrained=True, pretrained_cfg_overlay=source)
    except (SafetensorError, OSError, RuntimeError) as error:
        raise SSegError(f'The weights of {name!r} are damaged: delete "{file}" and try again.') from error
    return model.eval().requires_grad_(False)
