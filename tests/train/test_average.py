"""The mean of two weights."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import sseg
from train import average


@pytest.fixture
def two(tiny_weights, tmp_path):
    """A folder, and another of the same sizes with other numbers and words."""
    other = tmp_path / "other"
    shutil.copytree(tiny_weights, other)
    generator = torch.Generator().manual_seed(0)
    tensors = load_file(other / "model.safetensors")
    tensors = {name: t + 0.1 * torch.randn(t.shape, generator=generator).to(t.dtype) if t.is_floating_point() else t
               for name, t in tensors.items()}  # fmt: skip
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    words = json.loads((other / "vocabulary.json").read_text())
    words["phrases"] += [{"text": "axolotl", "count": 3, "kind": "thing"}]
    words["words"] = {"axolotl": 3}
    (other / "vocabulary.json").write_text(json.dumps(words))
    return tiny_weights, other


def test_tensors_are_means_and_words_are_counted_together(two, tmp_path):
    out = tmp_path / "mean"
    assert average.main([*map(str, two), "--out", str(out)]) == 0
    a, b, mean = (load_file(folder / "model.safetensors") for folder in (*two, out))
    name = "image_projection.0.weight"
    assert torch.allclose(mean[name].float(), (a[name].float() + b[name].float()) / 2, atol=1e-3)
    assert mean[name].dtype == b[name].dtype and not torch.equal(mean[name], b[name])
    first, _, both = (json.loads((folder / "vocabulary.json").read_text()) for folder in (*two, out))
    counts = {entry["text"]: entry["count"] for entry in both["phrases"]}
    assert counts == {entry["text"]: 2 * entry["count"] for entry in first["phrases"]} | {"axolotl": 3}
    assert both["words"] == {"axolotl": 3}
    assert sseg.load(out, device="cpu").known("axolotl")


def test_weights_that_do_not_belong_together_are_one_sentence(two, tmp_path, capsys):
    first, other = two
    (other / "tokenizer.json").write_text("{}")
    assert average.main([str(first), str(other), "--out", str(tmp_path / "mean")]) == 2
    assert "different tokenizers" in capsys.readouterr().err
    shutil.copyfile(first / "tokenizer.json", other / "tokenizer.json")
    tensors = load_file(other / "model.safetensors")
    save_file({name: tensor for name, tensor in tensors.items() if name != "logit_scale"}, other / "model.safetensors")
    assert average.main([str(first), str(other), "--out", str(tmp_path / "mean")]) == 2
    assert "different sizes" in capsys.readouterr().err and not (tmp_path / "mean").exists()
