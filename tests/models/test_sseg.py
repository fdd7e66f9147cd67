"""The model: sizes of the paper, what a mask feature is, saving and loading."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from sseg.models.config import PAPER, SSegConfig
from sseg.models.sseg import SSegModel, end_states, merge_alike, pool_under_masks

TINY = {
    "backbone": {"model_type": "resnet", "layer_type": "basic", "embedding_size": 8}
    | {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]},
    "fpn_dim": 32,
    "hidden_dim": 32,
    "num_queries": 5,
    "decoder_heads": 2,
    "text_vocab_size": 50,
    "text_width": 32,
    "text_layers": 1,
    "embed_dim": 16,
    "projector_dim": 32,
}


def tiny(**changes) -> SSegModel:
    torch.manual_seed(0)
    return SSegModel(SSegConfig(**TINY | changes)).eval()


def parameters(module) -> float:
    return sum(p.numel() for p in module.parameters()) / 1e6


def test_the_paper_size_has_the_papers_parts():
    with torch.device("meta"):
        model = SSegModel(SSegConfig(**PAPER))
    encoder = model.segmenter.pixel_level_module.encoder
    assert parameters(encoder) == pytest.approx(48.8, abs=0.2)  # Swin-S, reference/blocks of MaskFormer
    assert parameters(model.segmenter) == pytest.approx(62.8, abs=0.3)
    assert model.config.num_queries == 64 and len(model.segmenter.transformer_module.decoder.layers) == 6
    assert len(model.text_tower.encoder.layers) == 12


@pytest.mark.parametrize("mask_feature", ["pooled", "query"])
@pytest.mark.parametrize("side", [(64, 64), (32, 96)])
def test_shapes_and_unit_lengths(mask_feature, side):
    model = tiny(mask_feature=mask_feature)
    out = model.encode_image(torch.randn(2, 3, *side))
    height, width = side[0] // 4, side[1] // 4
    assert out.mask_logits.shape == (2, 5, height, width)
    assert out.layer_mask_logits.shape == (2, 2, 5, height, width)
    assert torch.equal(out.layer_mask_logits[-1], out.mask_logits)
    assert torch.allclose(out.mask_embeddings.norm(dim=-1), torch.ones(2, 5), atol=1e-5)


def test_swin_and_resnet_backbones_give_the_same_interface():
    swin = {"model_type": "swin", "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 2]}
    out = tiny(backbone=swin | {"window_size": 4, "image_size": 64}).encode_image(torch.randn(1, 3, 64, 64))
    assert out.mask_logits.shape == (1, 5, 16, 16)


def test_pooling_is_the_weighted_mean_of_the_pixels_under_a_mask():
    features = torch.arange(8.0).view(1, 2, 2, 2)
    logits = torch.full((1, 1, 2, 2), -40.0)
    logits[0, 0, 1] = 40.0  # the lower row
    assert torch.allclose(pool_under_masks(features, logits), torch.tensor([[[2.5, 6.5]]]))


def test_regions_that_mean_the_same_are_read_together():
    features = torch.tensor([[[1.0, 0.0], [4.0, 0.0], [0.0, 9.0]]])
    areas = torch.tensor([[1.0, 3.0, 2.0]])
    meanings = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]])
    sharp = merge_alike(features, areas, meanings, 1000.0)
    assert torch.allclose(sharp, torch.tensor([[[3.25, 0.0], [3.25, 0.0], [0.0, 9.0]]]))  # (1 * 1 + 3 * 4) / 4
    assert torch.allclose(merge_alike(features, areas, meanings, 0.0), torch.tensor([[13 / 6, 18 / 6]]).expand(3, 2))


def test_merging_is_for_use_alone_and_is_kept_with_the_weights(tmp_path):
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain, merging = tiny(), tiny(merge_steps=2, merge_sharpness=3.0)
    with torch.no_grad():
        first, second = plain.encode_image(pixels), merging.encode_image(pixels)
        assert torch.equal(first.mask_logits, second.mask_logits)
        spread = [x.mask_embeddings.std(1).norm() for x in (first, second)]
        assert spread[1] < 0.5 * spread[0]
        merging.save_pretrained(tmp_path)
        again = SSegModel.from_pretrained(tmp_path).eval().encode_image(pixels)
        assert torch.allclose(again.mask_embeddings, second.mask_embeddings, atol=1e-6)
        assert torch.allclose(
            plain.train().encode_image(pixels).mask_embeddings, merging.train().encode_image(pixels).mask_embeddings
        )


def test_the_image_vector_is_the_projected_mean_of_the_mask_features():
    model = tiny(mask_feature="query")
    queries = model.segmenter(pixel_values=(picture := torch.randn(1, 3, 64, 64))).transformer_decoder_last_hidden_state
    expected = torch.nn.functional.normalize(model.image_projection(queries.mean(1)), dim=-1)
    assert torch.allclose(model.encode_image(picture).image_embeddings, expected, atol=1e-5)


def test_meaning_does_not_bend_masks():
    model = tiny(mask_feature="pooled").train()
    model.encode_image(torch.randn(2, 3, 64, 64)).mask_embeddings.sum().backward()
    assert all(p.grad is None for p in model.mask_embedder.parameters())


def test_a_text_keeps_its_embedding_beside_longer_ones():
    model = tiny()
    alone = model.encode_text(torch.tensor([[2, 7, 1]]), torch.tensor([[1, 1, 1]]))
    ids = torch.tensor([[2, 7, 1, 0, 0], [2, 8, 9, 10, 1]])
    padded = model.encode_text(ids, (ids != 0).long())
    assert torch.allclose(alone[0], padded[0], atol=1e-5)
    assert not torch.allclose(padded[0], padded[1], atol=1e-2)


@pytest.mark.parametrize("padding", [0, 1])  # 1: padded with end-of-text tokens, as CLIP's tokenizer does
@pytest.mark.parametrize("layers", [1, 3])
def test_texts_are_read_in_use_as_in_training(layers, padding):
    """In training by transformers' own forward pass, in use by a shorter way to the last token: the same answer."""
    model = tiny(text_layers=layers, text_pad_token_id=padding)
    lengths, p = torch.tensor([3, 5, 2]), padding
    ids = torch.tensor([[2, 7, 1, p, p], [2, 8, 9, 10, 1], [2, 1, p, p, p]])
    mask = (torch.arange(5) < lengths[:, None]).long()
    pooled = model.text_tower(input_ids=ids, attention_mask=mask).pooler_output
    assert torch.allclose(end_states(model.text_tower, ids, mask), pooled, atol=1e-5)
    assert torch.allclose(model.encode_text(ids, mask), model.train().encode_text(ids, mask), atol=1e-6)


def test_saving_and_loading_gives_the_same_answers(tmp_path):
    model = tiny()
    model.save_pretrained(tmp_path)
    again, report = SSegModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    picture = torch.randn(1, 3, 64, 64)
    one, other = model.encode_image(picture), again.eval().encode_image(picture)
    assert torch.equal(one.mask_logits, other.mask_logits)
    assert torch.equal(one.mask_embeddings, other.mask_embeddings)


def test_loading_reports_a_missing_and_a_foreign_tensor(tmp_path):
    tiny().save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["stranger"] = tensors.pop("logit_scale")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    _, report = SSegModel.from_pretrained(tmp_path, output_loading_info=True)
    assert set(report["missing_keys"]) == {"logit_scale"} and set(report["unexpected_keys"]) == {"stranger"}


def test_scale_is_bounded_at_100():
    model = tiny()
    assert model.scale.item() == pytest.approx(1 / 0.07, rel=1e-4)
    model.logit_scale.data.fill_(9.0)
    assert model.scale.item() == pytest.approx(100.0)
