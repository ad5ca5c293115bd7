"""The speed benchmark times what a detector's own forward does, all of it, and says what it measured."""

import json
from collections import Counter

import pytest
import torch
from PIL import Image
from safetensors.torch import save_model
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks import __main__ as cli
from benchmarks import speed as bench_speed
from benchmarks import variants as bench_variants
from reprolib.data.cards import CARDS
from reprolib.models.parts import BACKBONE, HEAD, INPUT, PARTS, POST_PROCESSING, listening, part
from reprolib.papers.addresses import resolve_address
from reprolib.params import load_profile, resolve
from reprolib.pipeline.runs.build import build_model

MASK_RCNN = resolve_address("coco-mask_rcnn_r50")
SOLOV2 = resolve_address("coco-solov2_r50-location_attention")
FCIS = resolve_address("coco-fcis_r101-fcis")
SMALL = {"rounds": 1, "input_size": (64, 64)}


@pytest.fixture(scope="module")
def profile():
    return load_profile("demo")


@pytest.fixture(scope="module")
def default(profile):
    return bench_speed.run_speed(bench_speed.timed_by_the_paper(), profile, image_size=(48, 64), **SMALL)


def model_of(profile, experiment):
    return build_model(resolve(profile, experiment, 0), num_classes=3).eval()


def test_every_system_that_the_paper_times_is_timed_and_ours_beside(default):
    systems = [entry["system"] for entry in default["systems"]]
    assert systems == [
        "Mask R-CNN",
        "PANet",
        "Mask Scoring R-CNN",
        "K-Net",
        "SOTR",
        "QueryInst",
        "Mask2Former",
        "YOLACT",
        "CenterMask",
        "PolarMask",
        "SOLOv2",
        "SOLOv2-LocationAttention",
        "Mask R-CNN",
        "SOLOv2",
    ]
    printed = [10.4, 4.7, 8.6, 16.2, 7.1, 6.0, 8.4, 38.1, 13.9, 12.3, 33.5, 23.8]
    assert [entry["reported_fps"] for entry in default["systems"]] == [*printed, None, None]
    assert not default["failed"] and default["image_size"] == [48, 64] and default["input_size"] == [64, 64]


def test_parts_add_up_to_the_whole(default):
    for entry in default["systems"]:
        parts = entry["parts"]
        assert tuple(parts) == PARTS and min(parts.values()) > 0
        assert sum(parts.values()) < entry["milliseconds"]
        assert entry["network_milliseconds"] == pytest.approx(entry["milliseconds"] - parts[POST_PROCESSING])
        assert entry["fps"] == pytest.approx(1000 / entry["milliseconds"])
        assert entry["ratio"] == pytest.approx(entry["milliseconds"] / default["systems"][0]["milliseconds"])


class Operations(TorchDispatchMode):
    """Notes in which part each of PyTorch's operations runs."""

    def __init__(self):
        super().__init__()
        self.now, self.seen = "", Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.seen[self.now] += 1
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("experiment", bench_speed.timed_by_the_paper(), ids=lambda one: one.id)
def test_nothing_is_computed_between_the_parts(profile, experiment):
    model, image = model_of(profile, experiment), torch.rand(3, 64, 64)
    with torch.inference_mode(), Operations() as operations, listening(lambda name: setattr(operations, "now", name)):
        model([image])
    assert not operations.seen[""] and {INPUT, BACKBONE, HEAD} <= set(operations.seen)


def test_post_processing_has_stated_work(default, profile):
    for entry in default["systems"]:
        most = resolve(profile, resolve_address(entry["experiment"]), 0).scale.detections
        assert entry["detections"] == most, "the most that an image may have"
        ranked = {"SOLOv2": 500, "SOLOv2-LocationAttention": 500, "SOTR": 500, "YOLACT": 200}
        ranked |= {"CenterMask": 500, "PolarMask": 500}  # the demo's proposals of five levels
        ranked |= dict.fromkeys(("K-Net", "Mask2Former"), most)  # their queries
        assert entry["candidates"] == ranked.get(entry["system"], 100)  # the demo's proposals


def test_what_cannot_be_given_instances_says_what_to_give_instead(profile):
    with pytest.raises(ValueError, match=r"FCISHead cannot be given instances.*--weights FILE and --image FILE"):
        bench_speed.run_speed([FCIS], profile, rounds=1)


def test_parts_are_heard_by_who_listens_and_the_inner_one_counts():
    heard = []

    @part(POST_PROCESSING)
    def select():
        assert heard[-1] == POST_PROCESSING

    select_unheard = part(POST_PROCESSING)(lambda: 3)
    assert select_unheard() == 3 and heard == []
    with listening(heard.append):
        with part(HEAD):
            select()
        with pytest.raises(KeyError), part(HEAD):
            raise KeyError
    assert heard == [HEAD, POST_PROCESSING, HEAD, "", HEAD, ""]
    select_unheard()
    assert len(heard) == 6
    spent = bench_speed._seconds([(HEAD, 0.0), (POST_PROCESSING, 1.0), (HEAD, 3.0), ("", 7.0), (HEAD, 8.0), ("", 9.0)])
    assert spent[HEAD] == 6.0 and spent[POST_PROCESSING] == 2.0 and spent[PARTS[0]] == 0.0


def test_variants_compute_the_same_and_failing_ones_are_reported(profile, monkeypatch):
    def broken(model):
        raise RuntimeError("no compiler\nhere")

    def wrong(model):
        model.backbone.register_forward_hook(lambda *given: [2 * one for one in given[-1]])

    monkeypatch.setitem(bench_variants.VARIANTS, "broken", broken)
    monkeypatch.setitem(bench_variants.VARIANTS, "wrong", wrong)
    variants = ["contiguous", "broken", "channels_last", "wrong", "contiguous+wrong"]
    result = bench_speed.run_speed([SOLOV2, MASK_RCNN], profile, variants=variants, **SMALL)
    timed = [(entry["experiment"], entry["variant"]) for entry in result["systems"]]
    kept = ("eager", "contiguous", "channels_last")
    assert timed == [(one.id, variant) for one in (SOLOV2, MASK_RCNN) for variant in kept]
    assert all(entry["difference"] < 1e-4 for entry in result["systems"] if entry["variant"] != "eager")
    assert [entry["network_ratio_to_eager"] for entry in result["systems"][::3]] == [1, 1]
    reasons = {one["variant"]: one["reason"] for one in result["failed"] if one["experiment"] == SOLOV2.id}
    assert reasons["broken"] == "RuntimeError: no compiler"
    assert reasons["wrong"].startswith("ValueError: outputs differ from eager ones by")
    assert len(result["failed"]) == 6
    shown = bench_speed.text(result)
    assert f"{MASK_RCNN.id}, broken: not timed: RuntimeError: no compiler" in shown and "of eager" in shown


def test_a_variant_leaves_the_model_as_it_was(profile):
    model, image = model_of(profile, SOLOV2), torch.rand(3, 64, 64)
    made, _ = bench_variants.make_variant(model, "channels_last", image)
    layouts = [
        {w.is_contiguous(memory_format=torch.channels_last) for w in one.parameters() if w.ndim == 4 and w.shape[2] > 1}
        for one in (made, model)
    ]
    assert layouts[0] == {True} and False in layouts[1]
    assert not model.backbone._forward_pre_hooks


def test_static_parts_are_what_forward_runs(profile):
    """In their order, each once: what is compiled or checked is what is timed."""
    for experiment in (SOLOV2, MASK_RCNN):
        model, ran = model_of(profile, experiment), []
        for module in model.static_parts():
            assert isinstance(module, nn.Module)
            module.register_forward_hook(lambda module, *_, ran=ran: ran.append(module))
        with torch.inference_mode():
            model([torch.rand(3, 64, 64)])
        assert tuple(ran) == model.static_parts()


def test_trained_weights_find_what_there_is(profile, tmp_path):
    weights, image = tmp_path / "weights.safetensors", tmp_path / "image.png"
    run = resolve(profile, SOLOV2, 0)
    save_model(build_model(run, num_classes=len(CARDS[run.dataset].classes)), weights)
    Image.new("RGB", (70, 50)).save(image)
    options = {"weights": weights, "image": image, **SMALL}
    result = bench_speed.run_speed([SOLOV2], profile, **options)
    (entry,) = result["systems"]
    assert result["image_size"] == [50, 70] and entry["candidates"] is None and entry["detections"] == 0
    assert f"weights {weights}" in bench_speed.text(result)
    with pytest.raises(ValueError, match=r"--weights FILE goes with --image FILE and one experiment"):
        bench_speed.run_speed([SOLOV2, MASK_RCNN], profile, **options)
    with pytest.raises(ValueError, match="goes with --image"):
        bench_speed.run_speed([SOLOV2], profile, weights=weights)


def test_what_cannot_be_timed_is_refused(profile):
    with pytest.raises(ValueError, match="'compiled' is none"):
        bench_speed.run_speed([SOLOV2], profile, variants=["contiguous+compiled"])
    with pytest.raises(ValueError, match="rounds=0"):
        bench_speed.run_speed([SOLOV2], profile, rounds=0)
    with pytest.raises(ValueError, match=r"input_size=\(0, 64\)"):
        bench_speed.run_speed([SOLOV2], profile, input_size=(0, 64))


def test_the_command_line_prints_a_table_or_json(default, monkeypatch, capsys):
    seen = {}
    monkeypatch.setattr(
        bench_speed, "run_speed", lambda *given, **options: seen.update(options, given=given) or default
    )
    options = ["speed", SOLOV2.id, "--profile", "paper", "--side", "96", "--device", "cpu"]
    assert cli.main([*options, "--input-size", "64", "96", "--variants", "compile", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == default
    assert seen["given"][0] == [SOLOV2] and seen["given"][1].name == "paper"
    assert seen["image_size"] == (96, 96) and seen["input_size"] == (64, 96) and seen["variants"] == ["compile"]
    assert cli.main(options) == 0
    shown = capsys.readouterr().out
    assert "one image 48x64" in shown and "given instances" in shown and "38.1" in shown
    with pytest.raises(SystemExit, match="2"):
        cli.main([*options, "--image-size", "9", "9"])
    assert "--image-size: not allowed with argument --side" in capsys.readouterr().err
    assert cli.main(["speed", "coco-solov2_r5"]) == 2
    assert "did you mean" in capsys.readouterr().err
    assert cli.main(["speed", "--device", "cpu", "--json"]) == 0
    assert seen["given"][0] == bench_speed.timed_by_the_paper() and seen["image_size"] is None
