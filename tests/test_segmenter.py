"""The library as people use it: load, encode, ask."""

import io
import json
import shutil
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import PreTrainedTokenizerFast

import sseg
from sseg import SSegError, inference
from sseg.arguments import BACKGROUND
from sseg.open_vocabulary import OpenVocabularySegmenter


@pytest.fixture(scope="module")
def seg(tiny_weights):
    return sseg.load(tiny_weights, device="cpu")


@pytest.fixture
def asked(seg, picture):
    encoded = seg.encode(picture)
    return encoded, seg.ask(encoded, "dog, green stuff, cat|kitten|puss", background=0.0)


def test_a_word_does_not_compete_with_its_own_synonyms(seg, picture, monkeypatch):
    """Asked for "dog", the known "hound" means the same thing: taking it out of the known words changes nothing."""
    monkeypatch.setattr(seg.model.config, "too_close", 2.0)  # random weights find all words alike
    words = [{"text": "dog"}, {"text": "hound", "name": "dog"}, {"text": "red car"}, {"text": "sky"}]

    def scores(texts):
        own = OpenVocabularySegmenter(seg.model, seg.tokenizer, [word for word in words if word["text"] in texts])
        return own.ask(own.encode(picture), "dog").coarse_scores

    with_hound = scores({"dog", "hound", "red car", "sky"})
    assert torch.allclose(with_hound, scores({"dog", "red car", "sky"}), atol=1e-6)
    assert not torch.allclose(with_hound, scores({"dog", "hound", "sky"}), atol=1e-3)


def test_shapes_and_ranges(seg, asked):
    encoded, out = asked
    assert encoded.size == (90, 120) and encoded.nbytes > encoded.mask_logits.nbytes + encoded.mask_embeddings.nbytes
    assert out.labels.shape == (90, 120) and out.labels.dtype == np.int32 and out.labels.max() < 3
    assert out.scores.shape == (3, 90, 120) and out.scores.dtype == np.float32
    assert out.scores.min() >= 0 and out.scores.sum(0).max() <= 1 + 1e-5
    assert np.array_equal(out.labels, out.scores.argmax(0))
    assert np.allclose(out.confidence, out.scores.max(0), atol=1e-6)
    assert np.allclose(out.score_map(1), out.scores[1], atol=1e-7)
    assert sum(out.areas) == pytest.approx(1)


def test_one_call_is_encode_and_ask(seg, picture, asked):
    out = seg(np.asarray(picture), "dog, green stuff, cat|kitten|puss", background=0.0)
    assert np.array_equal(out.labels, asked[1].labels)


def test_below_the_background_threshold_nothing_is_found(seg, asked):
    encoded, everything = asked
    threshold = float(np.median(everything.confidence))
    out = seg.ask(encoded, everything.phrases, background=threshold)
    assert np.array_equal(out.labels < 0, everything.confidence < threshold)
    assert np.array_equal(out.best, everything.labels)
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(SSegError, match="between 0 and 1"):
            seg.ask(encoded, "dog", background=wrong)


def test_scores_are_the_formula_over_phrases_and_distractors(seg, asked):
    """An independent computation: softmax over asked classes and known words that mean something else."""
    encoded, out = asked
    texts = ["dog", "green stuff", "cat", "kitten", "puss"]
    embeddings = seg.embed(texts)
    known = [word["text"] for word in seg.words]
    distractors = [t for t in known if t not in texts and float((embeddings @ seg.embed([t])[0]).max()) <= 0.8]
    cosines = encoded.mask_embeddings @ torch.cat([embeddings, seg.embed([*distractors, "dog"])[:-1]]).T
    merged = torch.cat([cosines[:, :2], cosines[:, 2:5].amax(1, keepdim=True), cosines[:, 5:]], 1)
    probabilities = (merged * seg.model.scale).softmax(1)[:, :3]
    weights = encoded.mask_logits.sigmoid()
    weights = weights / weights.sum(0).clamp(min=1)
    expected = torch.einsum("nc,nhw->chw", probabilities, weights)
    assert torch.allclose(out.coarse_scores, expected, atol=1e-5)


def test_scores_are_the_mean_over_scales_and_mirror_images(tiny_weights, picture):
    """Against pictures resized and mirrored by hand, each seen by weights that look once."""
    once, more = (sseg.load(tiny_weights, device="cpu") for _ in range(2))
    more.model.config.scales, more.model.config.mirrored = (1.0, 1.5), True
    rgb, texts = np.asarray(picture), ["dog", "green stuff"]
    expected = []
    for side in (64, 96):
        for turned in (rgb, rgb[:, ::-1]):
            seen = once.ask(once.encode(turned.copy(), long_side=side), texts).coarse_scores
            expected.append(inference.upsample(seen.flip(2) if turned is not rgb else seen, (16, 16)))
    found = more.ask(more.encode(rgb), texts).coarse_scores
    assert torch.allclose(found, torch.stack(expected).mean(0), atol=1e-5)
    assert not torch.allclose(found, expected[0], atol=1e-3)
    ids, sure, words = once.regions(once.encode(rgb))
    found, how_sure, found_words = more.regions(more.encode(rgb))  # its own segments: of the picture as it is
    assert (ids == found).mean() > 0.999  # two pictures at once round otherwise than one: ties may fall to either side
    assert np.allclose(sure, how_sure, atol=1e-5) and words == found_words


class WordModel(torch.nn.Module):
    """Two masks, left half and right half; each means one known word. Texts have a direction of their own each."""

    class config:
        image_size, combine, prompt, text_max_length, embed_dim = 64, "soft", "{}", 16, 8
        pixel_mean, pixel_std = (0.5,) * 3, (0.5,) * 3
        refine_clusters, outlines, scales, mirrored, background, mask_stride = 0, False, (1.0,), False, BACKGROUND, 4
        too_close, handicap, contrast = 0.8, 0.0, 0.0

    scale = use_scale = torch.tensor(20.0)
    device = torch.device("cpu")
    words = ["dog", "grass", "sky", "cat", "puppy"]

    def encode_image(self, pixel_values):
        b, _, h, w = pixel_values.shape
        masks = torch.full((b, 2, h // 4, w // 4), -10.0)
        masks[:, 0, :, : w // 8] = 10
        masks[:, 1, :, w // 8 :] = 10
        meanings = torch.eye(8)[:2] @ torch.diag(torch.ones(8))
        return type("Out", (), {"mask_logits": masks, "mask_embeddings": meanings.expand(b, 2, 8)})

    def encode_text(self, ids, mask):
        rows = torch.eye(8)[ids[:, 0]]
        rows[ids[:, 0] == 4] = torch.tensor([0.9, 0, 0, 0, 0.436, 0, 0, 0])  # puppy is nearly a dog
        return rows

    def offsets(self, texts):
        return texts.new_zeros(len(texts))


def word_tokenizer(texts, **_):
    ids = [[WordModel.words.index(t) if t in WordModel.words else 7] for t in texts]
    return {"input_ids": torch.tensor(ids), "attention_mask": torch.ones(len(ids), 1, dtype=torch.long)}


@pytest.fixture
def world():
    """A segmenter that is right by construction: a dog on the left, grass on the right."""
    seg = OpenVocabularySegmenter(WordModel(), word_tokenizer, [{"text": word} for word in WordModel.words])
    return seg, seg.encode(np.zeros((64, 64, 3), np.uint8))


def test_the_right_phrase_lies_in_the_right_place(world):
    seg, encoded = world
    out = seg.ask(encoded, "sky, grass, dog")
    assert (out.labels[:, :30] == 2).all() and (out.labels[:, 34:] == 1).all()
    assert out.areas[0] == 0 and out.areas[1] + out.areas[2] > 0.9 and min(out.mean_scores[1:]) > 0.8


@pytest.mark.parametrize("sliding", [False, True])
def test_masks_that_are_evened_out_end_where_the_colours_do(world, monkeypatch, sliding):
    """The network ends the dog at the middle, the picture at five eighths."""
    seg, _ = world
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :40] = (200, 60, 40)
    monkeypatch.setattr(WordModel.config, "refine_clusters", 2)
    labels = seg.ask(seg.encode(image, sliding=sliding), "grass, dog", background=0).labels
    assert (labels[:, :38] == 1).all() and (labels[:, 42:] == 0).all()


def test_a_single_word_does_not_fill_the_picture(world):
    seg, encoded = world
    alone = seg.ask(encoded, "dog")
    assert (alone.labels[:, :30] == 0).all() and (alone.labels[:, 34:] == -1).all()
    assert (seg.ask(encoded, "dog", competitors=False).labels[:, 34:] == 0).all()


def test_known_words_of_the_same_meaning_do_not_compete(world):
    """A puppy is known and close to a dog: asking for the dog must not lose half of its score to it."""
    seg, encoded = world
    assert seg.ask(encoded, "dog").confidence[:, :30].min() > 0.95
    both = seg.ask(encoded, "dog, puppy")  # asked for apart, they do compete
    assert 0.5 < both.confidence[:, :20].min() < 0.95 and (both.labels[:, :30] == 0).all()


def test_a_phrase_that_is_not_there_is_not_found(world):
    seg, encoded = world
    nothing = seg.ask(encoded, "sky", background=0.3)
    assert (nothing.labels == -1).all() and nothing.areas == [0.0] and nothing.mean_scores == [0.0]
    assert nothing.to_json()["background_area"] == 1 and not Image.open(io.BytesIO(nothing.id_png())).getbbox()


def test_the_synonym_that_counted_is_named(world):
    seg, encoded = world
    out = seg.ask(encoded, "cat|dog|puppy, sky|grass")
    assert out.winners == ["dog", "grass"] and out.phrases == ["cat|dog|puppy", "sky|grass"]


def test_explain_names_the_best_here(world):
    seg, encoded = world
    out = seg.ask(encoded, "grass, sky, dog")
    here = out.explain(5, 40)
    assert next(b["phrase"] for b in here["best"]) == "dog" and here["words"][0]["phrase"] == "dog"
    assert here["best"][0]["score"] == pytest.approx(out.scores[2, 40, 5], abs=1e-6)
    assert here["margin"] == pytest.approx(here["best"][0]["score"] - here["best"][1]["score"])
    assert [b["phrase"] for b in out.explain(60, 3, n=1)["best"]] == ["grass"]
    with pytest.raises(SSegError, match="from 0 to"):
        out.explain(64, 0)


def test_the_models_own_segments_have_names(world):
    seg, encoded = world
    ids, sure, names = seg.regions(encoded, 2)
    assert {names[ids[10, 5]][0], names[ids[10, 60]][0]} == {"dog", "grass"} and sure[:, :28].min() > 0.9
    areas = np.bincount(ids.ravel())
    assert len(names) == len(areas) and (areas[:-1] >= areas[1:]).all() and all(len(words) == 2 for words in names)


def test_sliding_sees_the_same_world_in_finer_grain(world):
    seg, _ = world
    fine = seg.encode(np.zeros((200, 300, 3), np.uint8), sliding=True)
    assert fine.mask_logits.shape[1:] == (32, 48) and len(fine.mask_logits) == len(fine.mask_embeddings)
    out = seg.ask(fine, "dog, grass, sky", background=0.0)
    assert out.labels.shape == (200, 300) and set(np.unique(out.labels)) == {0, 1}


def test_text_embeddings_are_made_once(world, monkeypatch):
    seg, encoded = world
    seg.ask(encoded, "dog, sky")
    monkeypatch.setattr(WordModel, "encode_text", lambda *a: pytest.fail("embedded again"))
    seg.ask(encoded, "sky, dog, grass")


def test_the_cache_of_texts_is_bounded(world, monkeypatch):
    seg, _ = world
    monkeypatch.setattr("sseg.vocabulary.CACHED_TEXTS", 10)
    rows = seg.embed([f"phrase {i}" for i in range(50)])
    assert rows.shape == (50, 8) and len(seg.vocabulary._cache) == 10


def test_asking_does_not_depend_on_what_was_asked_before(seg, picture):
    encoded = seg.encode(picture)
    first = seg.ask(encoded, "dog, sky").scores
    seg.embed(["something", "dog", "else entirely with many words"])
    seg.ask(encoded, ["a"] * 3 + ["b"])
    assert np.allclose(seg.ask(encoded, "dog, sky").scores, first, atol=1e-5)


def test_threads_get_the_same_answers(tiny_weights, picture):
    seg = sseg.load(tiny_weights, device="cpu")
    encoded, answers = seg.encode(picture), {}

    def work(i):
        for j in range(8):
            answers[i, j] = seg.ask(encoded, f"dog, thing {j}, word {(i * j) % 5}", background=0.0).labels

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 32
    for (i, j), labels in answers.items():
        again = seg.ask(encoded, f"dog, thing {j}, word {(i * j) % 5}", background=0.0)
        assert (labels != again.labels).mean() < 1e-3  # batches of other sizes round differently


@pytest.mark.parametrize("size", [(1, 1), (2000, 4), (3, 1500), (31, 33)])
def test_any_shape_of_picture(seg, size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    for sliding in (False, True):
        encoded = seg.encode(image, sliding=sliding)
        out = seg.ask(encoded, "dog, grass", background=0.0)
        assert out.labels.shape == size and np.isfinite(out.confidence).all()


def test_a_huge_picture_is_segmented_at_the_working_size(seg):
    encoded = seg.encode(Image.new("L", (12000, 9000), 90))
    out = seg.ask(encoded, "dog, grass", background=0.0)
    assert 15e6 < out.labels.size <= 16e6 and out.labels.shape[1] / out.labels.shape[0] == pytest.approx(
        4 / 3, rel=1e-3
    )
    with pytest.raises(SSegError, match="score_map"):
        _ = seg.ask(encoded, [f"p {i}" for i in range(100)]).scores


def test_known_words(seg):
    assert seg.known("a big Dog") and seg.known("cars") and seg.known("dogs and cats")
    assert not seg.known("axolotl") and not seg.known("a photo of the") and not seg.known("infrared")


def test_nearest_words_are_those_with_the_nearest_meaning(seg):
    texts = [word["text"] for word in seg.words]
    cosines = dict(zip(texts, (seg.embed(texts) @ seg.embed(["axolotl"])[0]).tolist(), strict=True))
    near = seg.nearest("axolotl", 4)
    assert [text for text, _ in near] == sorted(texts, key=cosines.get, reverse=True)[:4]
    assert [cosine for _, cosine in near] == pytest.approx([cosines[text] for text, _ in near], abs=1e-5)
    assert seg.nearest("dog", 1) == [("dog", pytest.approx(1, abs=1e-5))]
    assert seg.nearest("axolotl|dog", 1)[0][0] == "dog"


def test_slips_of_the_pen_come_first(seg):
    assert seg.nearest("grsas")[0][0] == "grass" and seg.nearest("wet grsas")[0][0] == "grass"
    assert seg.slips("gras") == ["grass"] and seg.slips("hill") == [] and seg.slips("🛸") == []


def test_a_tokenizer_of_whole_words_says_which_words_are_none(tiny_weights):
    loaded = sseg.load(tiny_weights, device="cpu")
    words = Tokenizer(WordLevel({"?": 0, "dog": 1, "cat": 2, "grass": 3, "gras": 4, "axolotl": 5}, unk_token="?"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="?", unk_token="?")
    seg = OpenVocabularySegmenter(loaded.model, tokenizer, [{"text": text} for text in ("dog", "cat", "grass")])
    assert len(seg.nearest("axolotl")) == 3  # a word: it has a meaning
    assert seg.nearest("xyzzy") == []  # none, and like none
    assert [text for text, _ in seg.nearest("grsas")] == ["grass"]
    assert seg.slips("gras") == []  # a word of its own


def test_weights_without_words_have_no_nearest(seg):
    assert OpenVocabularySegmenter(seg.model, seg.tokenizer).nearest("dog") == []


def test_the_weights_own_background_holds_until_another_is_asked_for(tiny_weights, tmp_path, picture):
    folder = tmp_path / "strict"
    shutil.copytree(tiny_weights, folder)
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("background") == BACKGROUND == sseg.load(tiny_weights, device="cpu").background
    (folder / "config.json").write_text(json.dumps(config))
    assert sseg.load(folder, device="cpu").background == BACKGROUND  # weights from before it was recorded
    (folder / "config.json").write_text(json.dumps(config | {"background": 0.35}))
    strict = sseg.load(folder, device="cpu")
    assert strict.background == strict(picture, "dog").background == 0.35
    assert strict.ask(strict.encode(picture), "dog").background == 0.35
    assert strict(picture, "dog", 0).background == strict(picture, "dog", background=0.0).background == 0
    (folder / "config.json").write_text(json.dumps(config | {"background": 35}))
    with pytest.raises(SSegError, match="config.json"):
        sseg.load(folder, device="cpu")


def test_outputs_agree_with_the_labels(seg, asked, picture):
    encoded, everything = asked
    out = seg.ask(encoded, everything.phrases, background=float(np.median(everything.confidence)))
    ids = np.asarray(Image.open(io.BytesIO(out.id_png()))).astype(int)
    assert np.array_equal(ids, out.labels + 1)
    for i, run_lengths in enumerate(out.rle()):
        assert np.array_equal(coco_mask.decode(run_lengths).astype(bool), out.labels == i)
    data = json.loads(json.dumps(out.to_json()))
    assert data["size"] == [90, 120] and data["weights"] == seg.name and data["background"] == out.background
    assert data["background_area"] + sum(row["area"] for row in data["phrases"]) == pytest.approx(1)
    for i, row in enumerate(data["phrases"]):
        assert row["id"] == i + 1 and row["phrase"] == out.phrases[i]
        if (out.labels == i).any():
            assert row["mean_score"] == pytest.approx(out.confidence[out.labels == i].mean(), abs=1e-5)
    assert out.overlay(picture).shape == (90, 120, 3)
    with pytest.raises(SSegError, match="another size"):
        out.overlay(picture.resize((9, 9)))


@pytest.mark.parametrize("background", [0.0, 0.2, 1])
def test_another_threshold_is_the_same_as_asking_with_it(seg, asked, background):
    encoded, found = asked
    expected = seg.ask(encoded, "dog, green stuff, cat|kitten|puss", background=background)
    assert found.at(background).to_json() == expected.to_json()
    assert found.at(background).best is found.best and found.background == 0


def test_another_threshold_lies_between_0_and_1(asked):
    with pytest.raises(SSegError, match="between 0 and 1"):
        asked[1].at(7)


def test_a_known_answer_to_which_words_are_known(seg, asked):
    assert asked[1].known == [True, False, True]


def test_prompt_and_combine_can_be_chosen(tiny_weights, picture):
    plain = sseg.load(tiny_weights, device="cpu")
    other = sseg.load(tiny_weights, device="cpu", combine="hard", prompt="a photo of a {}")
    assert torch.equal(other.embed(["dog"]), plain.embed(["a photo of a dog"]))
    encoded = other.encode(picture)
    expected = inference.mask_weights(encoded.mask_logits, "hard")
    scores = other.ask(encoded, "dog", competitors=False, background=0.0).coarse_scores[0]
    assert torch.allclose(scores, expected.sum(0))  # one class, no distractors: each pixel is its best mask's


def test_prompts_with_braces_are_only_text(seg):
    assert seg.embed(["{0.__class__}", "{}", "%s"]).shape[0] == 3


def test_a_device_that_is_not_there(tiny_weights):
    with pytest.raises(SSegError, match='The device "tpu9"'):
        sseg.load(tiny_weights, device="tpu9")


def test_info_is_plain_data(seg):
    info = json.loads(json.dumps(seg.info()))
    assert info["parameters"] == sum(p.numel() for p in seg.model.parameters())
    assert info["known_phrases"] == 6 and info["known_kinds"] == {"thing": 3, "material": 2, "word": 1}


def test_words_that_name_nothing_are_known_but_neither_compete_nor_are_they_answers(tiny_weights):
    loaded = sseg.load(str(tiny_weights), device="cpu")
    words = [{"text": "dog", "kind": "word"}, {"text": "grass", "kind": "word"}]
    lists = words, [*words, {"text": "running", "kind": "other"}]
    plain, more = (OpenVocabularySegmenter(loaded.model, loaded.tokenizer, one) for one in lists)
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    one, two = (seg(picture, ["dog"], background=0) for seg in (plain, more))
    assert np.array_equal(one.confidence, two.confidence)
    assert {word["phrase"] for word in two.explain(5, 5)["words"]} == {"dog", "grass"}
    assert more.known("running") and not plain.known("running")
    assert "running" not in dict(more.nearest("runing"))


# ---- spellings -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("spelled", ["red_car", "Red-Car", '"red car"', "['red car']", "ｒｅｄ　car", "red car ."])
def test_a_known_phrase_is_found_however_it_is_spelled(tiny_weights, picture, spelled):
    segmenter = sseg.load(tiny_weights, "cpu")
    encoded = segmenter.encode(picture)
    plain, found = (segmenter.ask(encoded, f"{one}, dog") for one in ("red car", spelled))
    assert torch.allclose(plain.coarse_scores, found.coarse_scores, atol=1e-6) and found.known == [True, True]
    assert segmenter.nearest(spelled, 1)[0][0] == "red car"


def test_hyphens_are_kept_where_the_weights_know_them(tiny_weights):
    segmenter = sseg.load(tiny_weights, "cpu")
    segmenter.words.append({"text": "t-shirt", "count": 1})
    kept, parted, plain = segmenter.embed(["red t-shirt", "red-car", "red car"])
    assert torch.equal(parted, plain)
    assert not torch.equal(kept, segmenter.embed(["red t shirt"])[0])
