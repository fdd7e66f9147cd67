"""S-Seg and its baselines behind one question: what do the regions of these windows have in common with these texts?

`load("mini")`, `load("groupvit:nvidia/groupvit-gcc-yfcc")`, `clip:`, `maskclip:` and `clipseg:`, each with an id on the
Hugging Face Hub or a folder. The baselines are transformers' own models; only how regions are read is ours. With random
weights they have their published sizes and a tokenizer made on the spot: good for speed, memory and tests alone.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

import sseg
from sseg import devices, inference
from sseg.errors import SSegError
from train.tokenizer import train_tokenizer

MAX_TOKENS = 77
TEXT_BATCH = 256
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Evidence(NamedTuple):
    """One window: how near each of N regions is to each of T texts, and where the regions are."""

    cosines: Tensor  # (N, T); logits of its own for CLIPSeg, whose scale is 1
    weights: Tensor | None  # (N, h, w) in 0..1; None: the regions are the h x w cells themselves
    grid: tuple[int, int]  # (h, w)
    image: Tensor  # (T,) of the whole window


class Model:
    """What a protocol asks of a model. `embed` texts once; `look` at windows (B, 3, H, W) in 0..1."""

    mean, std = IMAGENET_MEAN, IMAGENET_STD
    has_scale = True  # scores are cosines, so a protocol may set the temperature

    def __init__(self, network, tokenizer, device):
        self.network, self.tokenizer, self.device = network.to(device).eval(), tokenizer, device

    @property
    def scale(self) -> float:
        """One over the learned temperature, at most 100."""
        return min(float(self.network.logit_scale.detach().exp()), 100.0)

    def normalise(self, windows: Tensor) -> Tensor:
        mean, std = (torch.tensor(v, device=windows.device).view(1, 3, 1, 1) for v in (self.mean, self.std))
        return (windows - mean) / std

    @torch.inference_mode()
    def embed(self, texts: list[str], templates: tuple[str, ...]) -> Tensor:
        """(T, E): the mean over the templates of unit vectors, of unit length again."""
        prompts = [template.replace("{}", text) for text in texts for template in templates]
        vectors = torch.cat([self._embed(prompts[i : i + TEXT_BATCH]) for i in range(0, len(prompts), TEXT_BATCH)])
        return F.normalize(vectors.view(len(texts), len(templates), -1).mean(1), dim=-1)

    def _embed(self, prompts: list[str]) -> Tensor:
        tokens = self.tokenizer(prompts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        ids, mask = tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device)
        return F.normalize(self.network.get_text_features(ids, attention_mask=mask).pooler_output.float(), dim=-1)

    @torch.inference_mode()
    def look(self, windows: Tensor, texts: Tensor) -> list[Evidence]:
        """windows (B, 3, H, W) in 0..1 and texts (T, E) -> evidence of each window; bf16 on a GPU."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            return self._look(self.normalise(windows), texts)


class SSeg(Model):
    """Our own weights: regions are the predicted masks, soft or hard as the weights say."""

    def __init__(self, name, device="auto", combine=None):
        self.segmenter = sseg.load(name, device=device, combine=combine, prompt="{}")  # the protocol has the templates
        if self.segmenter.categories:
            raise SSegError(f'"{name}" is S-Seg+, which answers for its own categories alone: leave --protocol out.')
        self.device, config = self.segmenter.device, self.segmenter.model.config
        self.mean, self.std = config.pixel_mean, config.pixel_std

    @property
    def scale(self) -> float:
        return float(self.segmenter.model.scale.detach())

    def _embed(self, prompts):
        return self.segmenter.embed(prompts)

    def normalise(self, windows):
        return windows  # what masks are smoothed by are the image's own colours

    def _look(self, windows, texts):
        out = self.segmenter.model.encode_image(super().normalise(windows))
        images, logits = out.image_embeddings.float(), out.mask_logits.float()
        logits = self.segmenter.smoothed((255 * windows).round().to(torch.uint8), logits)
        return [
            Evidence(
                one.float() @ texts.T,
                inference.mask_weights(masks, self.segmenter.combine),
                tuple(masks.shape[1:]),
                image @ texts.T,
            )
            for one, masks, image in zip(out.mask_embeddings, logits, images, strict=True)
        ]


class GroupViT(Model):
    """Regions are the groups of the last stage; a pixel belongs to its best one, as in NVlabs' evaluation."""

    def _look(self, windows, texts):
        from transformers.models.groupvit.modeling_groupvit import get_grouping_from_attentions

        vision, project = self.network.vision_model, self.network.visual_projection
        states = vision.embeddings(windows, interpolate_pos_encoding=True)
        encoded = vision.encoder(hidden_states=states, output_attentions=True, return_dict=True)
        tokens = vision.layernorm(encoded.last_hidden_state)  # (B, G, width)
        groups = F.normalize(project(tokens.flatten(0, 1)).float(), dim=-1).view(*tokens.shape[:2], -1)
        images = F.normalize(project(tokens.mean(1)).float(), dim=-1)
        grid = tuple(side // 4 for side in windows.shape[2:])
        owners = get_grouping_from_attentions(encoded.attentions, grid).argmax(1)  # (B, h, w)
        weights = F.one_hot(owners, tokens.shape[1]).permute(0, 3, 1, 2).float()
        return [
            Evidence(one @ texts.T, where, grid, image @ texts.T)
            for one, where, image in zip(groups, weights, images, strict=True)
        ]


class CLIP(Model):
    """Regions are the patches: the last tokens of the image tower, projected as the class token is."""

    mean, std = CLIP_MEAN, CLIP_STD

    def _look(self, windows, texts):
        vision = self.network.vision_model
        out = vision(windows, interpolate_pos_encoding=True, output_hidden_states=True)
        tokens = vision.post_layernorm(self._patches(vision, out))  # (B, h * w, width)
        patches = F.normalize(self.network.visual_projection(tokens).float(), dim=-1)
        images = F.normalize(self.network.visual_projection(out.pooler_output).float(), dim=-1)
        grid = tuple(side // self.network.config.vision_config.patch_size for side in windows.shape[2:])
        return [
            Evidence(one @ texts.T, None, grid, image @ texts.T) for one, image in zip(patches, images, strict=True)
        ]

    @staticmethod
    def _patches(vision, out):
        return out.last_hidden_state[:, 1:]


class MaskCLIP(CLIP):
    """The last attention is left out: the patches keep their own values (Zhou et al. 2022)."""

    @staticmethod
    def _patches(vision, out):
        layer = vision.encoder.layers[-1]
        values = layer.self_attn.v_proj(layer.layer_norm1(out.hidden_states[-2]))
        return layer.self_attn.out_proj(values)[:, 1:]


class CLIPSeg(Model):
    """One map a text from its decoder, at its own 352 x 352; trained on human masks, unlike all others here."""

    side, at_once = 352, 32
    scale, has_scale = 1.0, False

    def _embed(self, prompts):
        tokens = self.tokenizer(prompts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
        ids, mask = tokens["input_ids"].to(self.device), tokens["attention_mask"].to(self.device)
        return self.network.clip.get_text_features(ids, attention_mask=mask).pooler_output.float()

    @torch.inference_mode()
    def embed(self, texts, templates):
        """(T, E): the mean over the templates, of the length that its decoder was trained with."""
        prompts = [template.replace("{}", text) for text in texts for template in templates]
        vectors = torch.cat([self._embed(prompts[i : i + TEXT_BATCH]) for i in range(0, len(prompts), TEXT_BATCH)])
        return vectors.view(len(texts), len(templates), -1).mean(1)

    def _look(self, windows, texts):
        grid = tuple(side // 4 for side in windows.shape[2:])
        windows = F.interpolate(windows, (self.side, self.side), mode="bilinear", antialias=True)
        states = self.network.clip.vision_model(windows, output_hidden_states=True, interpolate_pos_encoding=True)
        layers = [states.hidden_states[i + 1] for i in self.network.extract_layers]  # (B, tokens, width) each
        found = []
        for number in range(len(windows)):
            maps = torch.cat(
                [self._decode([layer[number] for layer in layers], part) for part in texts.split(self.at_once)]
            )  # (T, side, side)
            maps = F.interpolate(maps[None].float(), grid, mode="bilinear", antialias=True)[0]
            found.append(Evidence(maps.flatten(1).T, None, grid, maps.amax((1, 2))))
        return found

    def _decode(self, layers, texts):
        layers = [layer.expand(len(texts), -1, -1) for layer in layers]
        return self.network.decoder(layers, texts).logits.view(len(texts), self.side, self.side)


BASELINES = {"groupvit": GroupViT, "clip": CLIP, "maskclip": MaskCLIP, "clipseg": CLIPSeg}


def load(name: str, device="auto", random_weights: bool = False, combine=None) -> Model:
    """A model by name. SSegError for an unknown kind, or weights that are neither a folder nor on the Hub."""
    kind, _, where = name.partition(":")
    if kind not in BASELINES:
        return SSeg(name, device, combine)
    device = devices.pick(device)
    if random_weights:
        return BASELINES[kind](*_random(kind), device)
    if not where:
        raise SSegError(f'"{name}" names no weights: give {kind}:ID, an id on the Hub, or --random-weights.')
    try:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(where)
        return BASELINES[kind](_network_class(kind).from_pretrained(where), tokenizer, device)
    except Exception as error:  # networks, proxies and the Hub fail in many types
        raise SSegError(
            f'The weights "{where}" are not a folder of {kind}, and the Hub does not give them: check name '
            "and connection, or take --random-weights."
        ) from error


def _network_class(kind):
    import transformers

    return {"groupvit": transformers.GroupViTModel, "clipseg": transformers.CLIPSegForImageSegmentation}.get(
        kind, transformers.CLIPModel
    )


def _random(kind):
    """A network of the published size with seed 0, and a tokenizer with the same start, end and padding ids."""
    import transformers

    tokenizer = train_tokenizer(["a photo of a dog and a cat on the grass"], 300, MAX_TOKENS)
    text = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id, "pad_token_id": 0}
    vision = {} if kind == "groupvit" else {"patch_size": 16}  # ViT-B/16, the size in the field's tables
    own = {"groupvit": transformers.GroupViTConfig, "clipseg": transformers.CLIPSegConfig}
    config = own.get(kind, transformers.CLIPConfig)(text_config=text, vision_config=vision)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return _network_class(kind)(config), tokenizer
