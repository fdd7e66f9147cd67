"""Weights by name: bundled, a folder, or from the Hugging Face Hub -> a verified local folder -> a model.

Only config.json, safetensors, tokenizer files and texts are ever opened or downloaded; no pickle is read.
"""

import json
import re
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from sseg import hub
from sseg.config import SSegConfig
from sseg.errors import SSegError
from sseg.model import SSegModel
from sseg.paths import WEIGHTS
from sseg.text import load_tokenizer

REQUIRED = ("config.json", "model.safetensors")
PHOTOS, SCENES = "photos", "mini"  # bundled weights: of photographs; of rendered scenes, always there
PLUS = "sseg-plus"  # model_type of S-Seg+ (`sseg.self_trained`), which has a fixed list of categories and no tokenizer
DOWNLOADED = ["*.json", "model.safetensors", "README.md", "recipe.yaml"]
_HUB_ID = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


def bundled(kind: str = SSegConfig.model_type) -> dict[str, Path]:
    """The segmenters that come with the package: name -> folder. `kind`: S-Seg's model_type, or `PLUS`."""
    folders = [path.parent for path in sorted(WEIGHTS.glob("*/config.json"))]
    return {folder.name: folder for folder in folders if read_json(folder / "config.json").get("model_type") == kind}


def default() -> str:
    """Name of the weights for people who name none: those of photographs, where they are bundled."""
    return PHOTOS if PHOTOS in bundled() else SCENES


def default_pair() -> tuple[str, str]:
    """S-Seg and S-Seg+ to compare for people who name neither."""
    of_photographs = PHOTOS in bundled() and f"{PHOTOS}-plus" in bundled(PLUS)
    return (PHOTOS, f"{PHOTOS}-plus") if of_photographs else (SCENES, f"{SCENES}-plus")


def resolve(name: str | Path) -> Path:
    """The local folder of weights: "mini" (bundled), a folder, or "owner/name@revision" on the Hub.

    Raises:
        SSegError: nothing of that name, or the Hub cannot be reached and holds no earlier copy here.
    """
    found = bundled() | bundled(PLUS)
    if str(name) in found:
        return found[str(name)]
    path = Path(name).expanduser()
    if str(name) and path.is_dir():
        return path
    if path.is_file():
        raise SSegError(f'"{name}" is a file: weights are given by their folder, "{path.parent}".')
    match = _HUB_ID.fullmatch(str(name))
    if match and not str(name).startswith("."):
        return download(match["repo"], match["revision"])
    choices = ", ".join(f'"{choice}"' for choice in found) or "none are bundled here"
    raise SSegError(
        f'There are no weights "{name}": name bundled ones ({choices}), a folder, or owner/name on the Hub.'
    )


def download(repo: str, revision: str | None = None) -> Path:
    """The Hub's copy of `repo` in the local cache; an earlier copy serves while the Hub gives no answer."""
    try:
        return hub.snapshot(repo, revision, DOWNLOADED)
    except hub.HubError as error:
        name = f"{repo}@{revision}" if revision else repo
        raise SSegError(f'No weights "{name}": {error}; check the name, give a local folder, or use "mini".') from error


def kind_of(folder: Path) -> str | None:
    """The model_type of a weights folder; an SSegError where its config.json is missing or damaged."""
    _require(folder, "config.json")
    return read_json(folder / "config.json").get("model_type")


def verify(folder: Path, kind: str = SSegConfig.model_type) -> None:
    """Raise an SSegError that names the first thing amiss: a file missing, config.json or model.safetensors damaged."""
    _require(folder, *REQUIRED, *(["tokenizer.json"] if kind == SSegConfig.model_type else []))
    if (found := kind_of(folder)) != kind:
        wanted = "S-Seg+" if kind == PLUS else "S-Seg"
        raise SSegError(f'The config.json of "{folder}" is of a "{found}" model, not of {wanted}: take other weights.')
    try:
        with safe_open(folder / "model.safetensors", framework="pt"):
            pass
    except (SafetensorError, OSError) as error:
        raise SSegError(f'The model.safetensors of "{folder}" is damaged: get the file again.') from error


def _require(folder: Path, *names: str) -> None:
    for name in names:
        if not (folder / name).is_file():
            pickles = [p.name for suffix in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(suffix)]
            hint = f' ("{pickles[0]}" is a pickle, which is never read)' if pickles and name.endswith("tensors") else ""
            raise SSegError(f'The weights folder "{folder}" has no {name}{hint}: get the whole folder again.')


def read_json(path: Path) -> dict:
    """A JSON file with an object in it; an SSegError if it is damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise SSegError(f'The {path.name} of "{path.parent}" is damaged: get the file again.') from error
    if not isinstance(content, dict):
        raise SSegError(f'The {path.name} of "{path.parent}" is not a JSON object: get the file again.')
    return content


def load_model(folder: Path, model_class: type[PreTrainedModel] = SSegModel) -> PreTrainedModel:
    """The model in evaluation mode, float32 on the CPU; strict.

    Raises:
        SSegError: a damaged file, or a tensor that is missing, extra, of another shape or not finite, by its name.
    """
    verify(folder, model_class.config_class.model_type)
    config = _load_config(folder, model_class)
    try:
        with _quiet_transformers():  # it only warns of what does not fit; here that is an error
            model, report = model_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
            )
    except (SafetensorError, OSError) as error:
        raise SSegError(f'The model.safetensors of "{folder}" is damaged: get the file again.') from error
    _check(folder, model, report)
    return model.eval().requires_grad_(False)


def _load_config(folder: Path, model_class: type[PreTrainedModel]):
    try:
        config = model_class.config_class.from_pretrained(folder, local_files_only=True)
        with _quiet_transformers(), torch.device("meta"):  # sizes that fit together, without making any numbers
            model_class(config)
        return config
    except Exception as error:  # transformers checks each field of a config in its own way
        raise SSegError(
            f'The config.json of "{folder}" does not describe an S-Seg model: get the file again.'
        ) from error


def _check(folder: Path, model: PreTrainedModel, report: dict) -> None:
    def complain(what):
        raise SSegError(f'The weights in "{folder}" do not fit their config.json: {what}; get the folder again.')

    if missing := sorted(report["missing_keys"]):
        complain(f'tensor "{missing[0]}" is missing{_and_more(missing)}')
    if extra := sorted(report["unexpected_keys"]):
        complain(f'tensor "{extra[0]}" has no place in the model{_and_more(extra)}')
    for name, found, expected in sorted(report["mismatched_keys"]):
        complain(f'tensor "{name}" has shape {tuple(found)} instead of {tuple(expected)}')
    for name, tensor in model.state_dict().items():
        if not tensor.isfinite().all():
            complain(f'tensor "{name}" holds values that are not finite')


@contextmanager
def _quiet_transformers():
    verbosity, bar = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(transformers_logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bar:
            transformers_logging.enable_progress_bar()


def _and_more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def load_words(folder: Path) -> list[dict]:
    """What the weights were trained on (vocabulary.json): [{"text", "count", "kind"}], empty if the file is missing."""
    path = folder / "vocabulary.json"
    if not path.is_file():
        return []
    words = read_json(path).get("phrases")
    if not isinstance(words, list) or not all(isinstance(w, dict) and isinstance(w.get("text"), str) for w in words):
        raise SSegError(f'The vocabulary.json of "{folder}" is damaged: get the file again.')
    return words


def load_tokens(folder: Path):
    """The tokenizer of a weights folder; an SSegError if its files are damaged."""
    try:
        return load_tokenizer(folder)
    except Exception as error:  # tokenizers raises a bare Exception on a damaged tokenizer.json
        raise SSegError(f'The tokenizer.json of "{folder}" is damaged: get the file again.') from error
