"""The prompt benchmark times prompts, not encodings, and says what it measured."""

import pytest

from benchmarks import prompt as bench_prompt
from benchmarks.__main__ import main
from reprolib.papers import catalog
from reprolib.papers.addresses import resolve_address
from reprolib.params import load_profile


@pytest.fixture(scope="module")
def result():
    return bench_prompt.run_prompt("coco-mask_rcnn_r50", load_profile("demo"), rounds=1, side=64, counts=(1, 7))


def test_it_reports_calls_boxes_and_their_share_of_encoding(result):
    assert [call["boxes"] for call in result["calls"]] == [1, 7]
    for call in result["calls"]:
        assert call["milliseconds_per_box"] == pytest.approx(call["milliseconds"] / call["boxes"])
        ratio = call["milliseconds"] / result["encode_milliseconds"]  # one round: no median
        assert call["ratio_to_encoding"] == pytest.approx(ratio) and ratio > 0
    assert result["side"] == 64 and result["hardware"]
    shown = bench_prompt.text(result)
    assert result["hardware"] in shown and "7 boxes" in shown and "1 box " in shown and "40 ms" in shown


def test_a_call_does_not_encode_again(monkeypatch):
    encoded = []
    build = bench_prompt.build_model

    def counted(*arguments, **named):
        model = build(*arguments, **named)
        model.backbone.register_forward_hook(lambda *_: encoded.append(1))
        return model

    monkeypatch.setattr(bench_prompt, "build_model", counted)
    bench_prompt.run_prompt("coco-mask_rcnn_r50", load_profile("demo"), rounds=2, side=64, counts=(1, 3))
    assert len(encoded) == 1 + 1 + 2  # what is prompted, the warm-up, a timed one per round


def test_what_cannot_be_timed_is_refused():
    profile = load_profile("demo")
    with pytest.raises(ValueError, match="rounds=0"):
        bench_prompt.run_prompt("coco-mask_rcnn_r50", profile, rounds=0)
    with pytest.raises(ValueError, match=r"counts=\[0\]"):
        bench_prompt.run_prompt("coco-mask_rcnn_r50", profile, counts=(0,))
    with pytest.raises(ValueError, match="did you mean"):
        bench_prompt.run_prompt("coco-maskrcnn_r50", profile)


def test_the_command_line_reaches_it(monkeypatch, capsys):
    seen = {}
    monkeypatch.setattr(bench_prompt, "run_prompt", lambda *given, **options: seen.update(options, given=given) or {})
    options = ["prompt", "coco-mask_rcnn_r50", "--profile", "paper", "--boxes", "5", "--device", "cpu", "--json"]
    assert main(options) == 0
    assert seen["given"][0] == "coco-mask_rcnn_r50" and seen["given"][1].name == "paper"
    assert seen["counts"] == [5] and seen["rounds"] == 7
    assert capsys.readouterr().out == "{}\n"
    assert main(["prompt", "--device", "cpu", "--json"]) == 0
    default = resolve_address(seen["given"][0])
    assert default == catalog.all_tables()["insight_any_instance-11"].rows[2].experiment
