"""Weights by name: bundled, a folder, or from the Hugging Face Hub -> a verified local folder -> a model.

Only config.json, safetensors, tokenizer files and texts are ever opened or downloaded; no pickle is read.
"""

import json
import os
import re
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import PreTrainedModel
from transformers.utils import logging as transformers_logging

from sseg import hub
from sseg.arguments import of_type
from sseg.errors import SSegError, SSegValueError, shown
from sseg.models import config_rules
from sseg.models.config import SSegConfig
from sseg.models.sseg import SSegModel
from sseg.models.tensors import check_header, check_values
from sseg.models.text import load_tokenizer
from sseg.paths import WEIGHTS

REQUIRED = ("config.json", "model.safetensors")
PHOTOS, SCENES = "photos", "mini"  # bundled weights: of photographs; of rendered scenes, always there
PLUS = "sseg-plus"  # model_type of S-Seg+ (`sseg.models.student`): a fixed list of categories, no tokenizer
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
    of_type(name, (str, Path), "Weights are given by their name or folder")
    found, name = bundled() | bundled(PLUS), str(name)
    if name in found:
        return found[name]
    path = os.path.expanduser(name)  # os.path, unlike pathlib, takes any name: too long ones, ~nobody's
    if name and os.path.isdir(path):
        return Path(path)
    if os.path.isfile(path):
        raise SSegValueError(
            f'"{shown(name)}" is a file: weights are given by their folder, "{shown(Path(path).parent)}".'
        )
    match = _HUB_ID.fullmatch(name)
    if match and not name.startswith("."):
        return download(match["repo"], match["revision"])
    choices = ", ".join(f'"{choice}"' for choice in found) or "none are bundled here"
    raise SSegValueError(
        f'There are no weights "{shown(name)}": name bundled ones ({choices}), a folder, or owner/name on the Hub.'
    )


def download(repo: str, revision: str | None = None) -> Path:
    """The Hub's copy of `repo` in the local cache; an earlier copy serves while the Hub gives no answer."""
    try:
        return hub.snapshot(repo, revision, DOWNLOADED)
    except hub.HubError as error:
        name = f"{repo}@{revision}" if revision else repo
        name = shown(name)
        raise SSegError(f'No weights "{name}": {error}; check the name, give a local folder, or use "mini".') from error


def kind_of(folder: Path) -> str | None:
    """The model_type of a weights folder; an SSegError where its config.json is missing or damaged."""
    _require(folder, "config.json")
    return read_json(folder / "config.json").get("model_type")


def verify(folder: Path, kind: str = SSegConfig.model_type) -> None:
    """Raise an SSegError that names the first thing amiss: a file missing, config.json damaged or of another model."""
    _require(folder, *REQUIRED, *(["tokenizer.json"] if kind == SSegConfig.model_type else []))
    if (found := kind_of(folder)) != kind:
        wanted = "S-Seg+" if kind == PLUS else "S-Seg"
        found = shown(found, 40)
        raise SSegError(f'The config.json of "{folder}" is of a "{found}" model, not of {wanted}: take other weights.')


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
    except (ValueError, OSError, RecursionError) as error:
        raise SSegError(f'The {path.name} of "{path.parent}" is damaged: get the file again.') from error
    if not isinstance(content, dict):
        raise SSegError(f'The {path.name} of "{path.parent}" is not a JSON object: get the file again.')
    return content


def load_model(folder: Path, model_class: type[PreTrainedModel] = SSegModel) -> PreTrainedModel:
    """The model in evaluation mode, float32 on the CPU; strict.

    Raises:
        SSegError: a damaged file, a configuration out of its ranges (`sseg.models.config_rules`), or a tensor that is
            missing, extra, of another shape or type, or that nothing can be computed with (`models.tensors`), by name.
    """
    verify(folder, model_class.config_class.model_type)  # type: ignore[union-attr]
    config, skeleton = _load_config(folder, model_class)

    def complain(what):
        raise SSegError(f'The weights in "{folder}" do not fit their config.json: {what}; get the folder again.')

    try:
        check_header(folder / "model.safetensors", skeleton, complain)
        with _quiet_transformers():  # it only warns of what does not fit; here that is an error
            model = model_class.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                use_safetensors=True,
                local_files_only=True,
            )
    except (SafetensorError, OSError) as error:
        raise SSegError(f'The model.safetensors of "{folder}" is damaged: get the file again.') from error
    check_values(model.state_dict(), complain)
    near = model.state_dict().get("text_tower.nearest")
    if near is not None and near.numel() and (near.min() < 0 or near.max() >= config.text_known):
        complain('tensor "text_tower.nearest" names words that are not there')
    return model.eval().requires_grad_(False)


def _load_config(folder: Path, model_class: type[PreTrainedModel]):
    """The configuration, and the tensors of a model of it, without any numbers: name -> tensor on the meta device."""
    problem = f'The config.json of "{folder}" does not describe an S-Seg model'
    try:
        own = config_rules.own_fields(read_json(folder / "config.json"), model_class.config_class)
    except ValueError as error:
        raise SSegError(f"{problem}: {error}; get the file again.") from error
    try:
        config = model_class.config_class(**own)  # type: ignore[misc]
        with _quiet_transformers(), warnings.catch_warnings(), torch.device("meta"):  # sizes that fit together
            warnings.simplefilter("ignore")  # of tensors without any numbers
            return config, model_class(config).state_dict()
    except Exception as error:  # transformers checks what fits together in its own way
        raise SSegError(f"{problem}: get the file again.") from error


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


def load_words(folder: Path) -> list[dict]:
    """What the weights were trained on (vocabulary.json): [{"text", "count", "kind"}], empty if the file is missing."""
    path = folder / "vocabulary.json"
    if not path.is_file():
        return []
    words = read_json(path).get("phrases")
    if not isinstance(words, list) or not all(map(_is_word, words)):
        raise SSegError(f'The vocabulary.json of "{folder}" is damaged: get the file again.')
    return words


def _is_word(entry) -> bool:
    """An entry of vocabulary.json: a phrase, and texts that say what it is."""
    if not (isinstance(entry, dict) and "text" in entry):
        return False
    texts = [entry[name] for name in ("text", "kind", "name", "wider") if name in entry]
    return all(isinstance(text, str) and len(text) <= 1000 for text in texts)


def load_tokens(folder: Path, words: int):
    """The tokenizer of a weights folder, of at most `words` tokens; an SSegError if its files are damaged."""
    try:
        tokenizer = load_tokenizer(folder)
        greatest = max(tokenizer.get_vocab().values())
    except Exception as error:  # tokenizers raises a bare Exception on a damaged tokenizer.json
        raise SSegError(f'The tokenizer.json of "{folder}" is damaged: get the file again.') from error
    if greatest >= words:
        raise SSegError(f'The tokenizer.json of "{folder}" has more words than its config.json: get the folder again.')
    return tokenizer
