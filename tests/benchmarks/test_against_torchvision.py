"""The benchmark compares like with like and says what it measured."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import against_torchvision as bench
from benchmarks import ladder as bench_ladder
from benchmarks.__main__ import main
from reprolib.papers.catalog import all_experiments
from reprolib.params import load_profile, resolve
from reprolib.pipeline.describe import describe
from reprolib.pipeline.runs.build import build_model


@pytest.fixture(scope="module")
def result():
    before = torch.get_num_threads()
    torch.set_num_threads(min(before, 2))
    yield bench.run_torchvision(rounds=1, image_size=(96, 128), input_size=(64, 96), batch_size=1, instances=2)
    torch.set_num_threads(before)


def test_both_sides_do_the_same_work(result) -> None:
    assert result["detections"]["ours"] == result["detections"]["torchvision"]
    assert min(result["detections"]["ours"]) >= 50


def test_ratios_are_torchvision_over_ours(result) -> None:
    for task in ("train_step", "inference"):
        part = result[task]
        assert part["ours"] > 0
        assert part["ratio"] == pytest.approx(part["torchvision"] / part["ours"])  # one round: no median


def test_command_line_prints_a_table_or_json_and_fails_when_slower(result, monkeypatch, capsys) -> None:
    seen = {}
    monkeypatch.setattr(bench, "run_torchvision", lambda **options: seen.update(options) or result)
    code = main(["torchvision", "--device", "cpu", "--rounds", "3", "--input-size", "64", "96", "--json"])
    assert seen["rounds"] == 3 and seen["input_size"] == (64, 96)
    assert json.loads(capsys.readouterr().out)["inference"]["ratio"] == result["inference"]["ratio"]
    assert code == (min(result["inference"]["ratio"], result["train_step"]["ratio"]) < 1)
    main(["torchvision"])
    out = capsys.readouterr().out
    assert "inference, masks pasted" in out and "96x128" in out


def test_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="rounds=0"):
        bench.run_torchvision(rounds=0)


def small_ladder(**arguments) -> dict:
    sizes = {"side": 64, "proposals": 7, "detections": 3}
    return bench_ladder.run_ladder("mai_se_net-1", load_profile("demo"), **sizes | arguments)


def test_a_ladder_is_the_tables_ablation_in_order() -> None:
    rows = bench_ladder.ladder("mai_se_net-1")
    assert list(rows) == [1, 2, 3, 4, 5, 6, 7]
    assert [len(experiment.components) for experiment in rows.values()] == list(range(7))
    assert list(bench_ladder.ladder("mai_se_net-1", [7, 8, 5])) == [5, 7, 8]


def test_a_ladder_counts_what_describe_counts_and_compares_neighbours() -> None:
    result = small_ladder(rows=[6, 7], rounds=1)
    above, below = result["rows"]
    run = resolve(load_profile("demo"), all_experiments()["ssdd-mai_se_net_r101-aspp+nlb+csab+carafeb+fbo+gcb"], 0)
    assert below["flops"] == describe(run, height=64, width=64, proposals=7, detections=3)["flops"] > above["flops"]
    assert "ratio" not in above
    assert below["ratio"] == pytest.approx(below["milliseconds"] / above["milliseconds"])  # one round: no median
    assert below["reported_fps"] == 8.29 and below["order"] == "within noise"
    shown = bench_ladder.text(result)
    assert "aspp+nlb+csab+carafeb+fbo+gcb" in shown and "7 proposals, 3 detections" in shown


def test_boxes_are_given_and_of_equal_number() -> None:
    run = resolve(load_profile("demo"), all_experiments()["ssdd-htc_r101"], 0)
    model = bench_ladder.fix_boxes(build_model(run, num_classes=1).eval(), proposals=7, detections=3)
    seen, pool = [], model.roi_heads.box_pooler.forward
    model.roi_heads.box_pooler.forward = lambda features, boxes: seen.append(boxes[0]) or pool(features, boxes)
    with torch.inference_mode():
        (found,) = model([torch.rand(3, 64, 64)])
    given = bench_ladder.unit_boxes(7, seed=1) * 128  # the demo resizes to 128 px
    assert len(seen) == 3 and all(torch.allclose(boxes, given, atol=1e-3) for boxes in seen), "in every stage"
    assert torch.allclose(found["boxes"], bench_ladder.unit_boxes(3, seed=2) * 64, atol=1e-4)
    assert found["masks"].shape == (3, 64, 64)


def test_boxes_lie_in_the_image_small_and_large() -> None:
    boxes = bench_ladder.unit_boxes(1000, seed=0)
    assert boxes.min() >= 0 and boxes.max() <= 1
    width, height = (boxes[:, 2:] - boxes[:, :2]).unbind(1)
    assert (width / height).min() >= 0.5 and (width / height).max() <= 2
    size = (width * height).sqrt()
    assert size.min() >= 0.999 / 32 and size.max() <= 0.501
    assert ((size < 1 / 8).float().mean() - 0.5).abs() < 0.05


def test_an_order_is_claimed_only_where_a_sign_test_gives_it() -> None:
    assert bench_ladder.compare([2.0, 3.0, 9.0], [1.0, 2.0, 3.0]) == {
        "ratio": 2.0,
        "slower_rounds": 3,
        "order": "within noise",
    }
    orders = {
        slower: bench_ladder.compare([2.0] * slower + [0.5] * (8 - slower), [1.0] * 8)["order"] for slower in range(9)
    }
    assert [slower for slower, order in orders.items() if order == "slower"] == [8]  # 7 of 8: p = 0.07
    assert [slower for slower, order in orders.items() if order == "faster"] == [0]
    assert bench_ladder.compare([2.0] * 5, [1.0] * 5)["order"] == "within noise"
    assert bench_ladder.compare([2.0] * 6, [1.0] * 6)["order"] == "slower"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mai_se_net-9",), "no table 'mai_se_net-9'; did you mean mai_se_net-"),
        (("mai_se_net-1", [1, 20]), "mai_se_net-1: a ladder needs two or more different rows of 1, 2, 3"),
        (("mai_se_net-1", [3, 3]), "not \\[3, 3\\]; name them by --rows"),
    ],
)
def test_rows_that_cannot_be_timed_are_refused(arguments, message) -> None:
    with pytest.raises(ValueError, match=message):
        bench_ladder.ladder(*arguments)


def test_detectors_without_boxes_to_give_and_no_rounds_are_refused() -> None:
    with pytest.raises(ValueError, match="Linear is no two-stage detector"):
        bench_ladder.fix_boxes(torch.nn.Linear(1, 1), proposals=1, detections=1)
    with pytest.raises(ValueError, match="rounds=0"):
        small_ladder(rounds=0)


def test_the_command_line_reaches_the_ladder(monkeypatch, capsys) -> None:
    seen = {}
    monkeypatch.setattr(bench_ladder, "run_ladder", lambda *given, **options: seen.update(options, given=given) or {})
    options = ["ladder", "mai_se_net-1", "--profile", "paper", "--rows", "5", "6", "--device", "cpu", "--json"]
    assert main(options) == 0
    assert seen["given"][0] == "mai_se_net-1" and seen["given"][1].name == "paper"
    assert seen["rows"] == [5, 6] and seen["rounds"] == 20
    assert capsys.readouterr().out == "{}\n"
