"""What a config.json may say: types and ranges, so that nothing is built that is too big, endless or makes no sense.

What takes memory is compared with the tensors of the file besides (`models.tensors`); here is what no tensor bounds.
"""

from dataclasses import fields

LAYERS = 128  # most of one kind; each is built by a loop
NUMBER = 65_536  # the greatest that a backbone's configuration may hold
DEPTHS = ("depth", "layer", "block")  # parts of the names of numbers that say how often something is built

_COUNTS = {  # name -> least, greatest
    "fpn_dim": (32, NUMBER), "hidden_dim": (1, NUMBER), "num_queries": (1, 4096), "decoder_layers": (1, LAYERS),
    "decoder_heads": (1, 1024), "decoder_ffn_dim": (1, NUMBER), "mask_stride": (1, 32), "text_known": (0, 10**7),
    "text_neighbours": (0, 1024), "text_vector_dim": (0, NUMBER), "text_vocab_size": (1, 10**7),
    "text_layers": (1, LAYERS), "text_width": (1, NUMBER), "text_heads": (1, 1024), "text_max_length": (3, 4096),
    "text_pad_token_id": (0, 10**7), "text_eos_token_id": (0, 10**7), "embed_dim": (1, NUMBER),
    "projector_dim": (1, NUMBER), "image_size": (32, 4096), "region_clusters": (0, 4096), "prior_regions": (0, 10**6),
    "merge_steps": (0, LAYERS), "refine_clusters": (0, 4096), "head_width": (1, NUMBER),
}  # fmt: skip
_REALS = {
    "decoder_dropout": (0, 1), "feature_dropout": (0, 1), "temperature": (1e-4, 1e4), "scale_in_use": (1e-4, 1e4),
    "prior": (0, 100), "handicap": (-1e4, 1e4), "contrast": (0, 1), "too_close": (-10, 10), "merge_sharpness": (0, 1e4),
    "background": (0, 1),
}  # fmt: skip
_LISTS = {  # name -> least and greatest length, least and greatest entry
    "scales": (1, 16, 0.05, 8), "pixel_mean": (3, 3, -1e3, 1e3), "pixel_std": (3, 3, 1e-4, 1e3),
    "mask_feature_levels": (0, 4, 4, 32),
}  # fmt: skip
_TEXTS = {"prompt": 1000, "combine": 10, "mask_feature": 20, "text_tower": 20, "teacher": 1000}  # longest
_SWITCHES = ("outlines", "mirrored")


def own_fields(content: dict, config_class) -> dict:
    """Of a config.json, what a configuration of this class and its base record; ValueError for what makes no sense."""
    own = {field.name for field in fields(config_class)} - {field.name for field in fields(config_class.__base__)}
    found = {name: value for name, value in content.items() if name in own}
    check(found)
    return found


def check(found: dict) -> None:
    """ValueError, in words that go on "config.json: ", for the first entry of a wrong type or out of its range."""
    for name, value in found.items():
        if name in _COUNTS:
            _number(name, value, *_COUNTS[name], whole=True)
        elif name in _REALS:
            _number(name, value, *_REALS[name])
        elif name in _LISTS:
            least, most, low, high = _LISTS[name]
            fits = isinstance(value, (list, tuple)) and least <= len(value) <= most
            _require(fits, name, f"a list of {least} to {most} numbers")
            for one in value:
                _number(name, one, low, high)
        elif name in _TEXTS:
            _require(isinstance(value, str) and len(value) <= _TEXTS[name], name, "a short text")
        elif name in _SWITCHES:
            _require(isinstance(value, bool), name, "true or false")
        elif name == "backbone":
            _require(isinstance(value, dict) and len(value) <= 64, name, "an object")
            for key, one in value.items():
                _of_backbone(f"{name}.{key}", one)
    if "combine" in found:
        _require(found["combine"] in ("soft", "hard"), "combine", '"soft" or "hard"')
    if "mask_feature_levels" in found:
        strides = all(one in (4, 8, 16, 32) for one in found["mask_feature_levels"])
        _require(strides, "mask_feature_levels", "strides: 4, 8, 16, 32")
    if "prompt" in found:
        _require("{}" in found["prompt"], "prompt", "a text with {} in it")
    if "categories" in found:
        _require(isinstance(found["categories"], (list, tuple)) and found["categories"]
                 and all(isinstance(one, str) and one.strip(" |") for one in found["categories"]),
                 "categories", "a list of phrases")  # fmt: skip


def _of_backbone(name: str, value) -> None:
    """A number, text, switch or flat list of a backbone's configuration, or of its arguments."""
    entries = value if isinstance(value, (list, tuple)) else [value]
    built = any(part in name.rpartition(".")[2] for part in DEPTHS)
    for one in entries:
        if isinstance(one, (int, float)) and not isinstance(one, bool):
            _number(name, one, -NUMBER, LAYERS if built else NUMBER)
        else:
            _require(one is None or isinstance(one, bool) or (isinstance(one, str) and _is_name(one)), name,
                     "a number, a name or a flat list of them")  # fmt: skip
    _require(len(entries) <= 16, name, "at most 16 entries")
    downloads = ("pretrained" in name or "checkpoint" in name) and bool(value)
    _require(not downloads, name, "false: the weights are in the folder")


def _is_name(text: str) -> bool:
    return len(text) <= 100 and all(letter.isalnum() or letter in "._-" for letter in text)


def _number(name: str, value, low, high, whole: bool = False) -> None:
    kind = isinstance(value, int if whole else (int, float)) and not isinstance(value, bool)
    fits = kind and low <= value <= high  # neither NaN nor infinity is
    _require(fits, name, f"a {'whole number' if whole else 'number'} from {low:,} to {high:,}")


def _require(fits, name: str, what: str) -> None:
    if not fits:
        raise ValueError(f"{name} must be {what}")
