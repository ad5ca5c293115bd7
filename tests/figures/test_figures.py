"""Figures: they draw what they are given, the same bytes each time, and say when there is nothing."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from reprolib.figures import ablation_gains, explain, latency
from reprolib.figures.explain import Curves, curves, dots, sorted_values, weight_maps
from reprolib.figures.pictures import NothingToDraw, draw_or_say, finish, new_figure
from reprolib.figures.precision_recall import precision_recall_curves
from reprolib.figures.predictions import draw_instances, predictions_grid
from reprolib.figures.training_curves import loss_terms, training_curves
from reprolib.papers import catalog
from reprolib.tables.render import read_table

ABLATION = catalog.all_tables()["iemask_rcnn-3"]


def pixels(picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.png)).convert("RGB"))


def test_gains_with_and_without_runs(root, record, tmp_path):
    rows, _, _ = read_table("iemask_rcnn-3", "demo", params=root / "params.yaml")
    empty = ablation_gains.ablation_gains(rows, title="title", note="note")
    for seed in range(2):
        record(ABLATION.rows[0].experiment, {"segm/AP": 30.0 + seed}, seed=seed, write=True)
        record(ABLATION.rows[1].experiment, {"segm/AP": 33.0 + 2 * seed}, seed=seed, write=True)
    rows, _, _ = read_table("iemask_rcnn-3", "demo", params=root / "params.yaml")
    picture = ablation_gains.ablation_gains(rows, title="title", note="note").save(tmp_path / "deep" / "gains.png")
    assert (tmp_path / "deep" / "gains.png").read_bytes() == picture.png
    assert picture.png == ablation_gains.ablation_gains(rows, title="title", note="note").png
    assert picture.png != empty.png
    assert b"matplotlib" not in picture.png.lower(), "the version would change the bytes"


def test_gains_over_another_row(root, record, monkeypatch):
    """Row 7 of SEANet's table 2 is not printed: it has a reproduced gain, and the others have gains over it."""
    table = catalog.all_tables()["seanet-2"]
    for number, value in ((1, 30.0), (2, 33.0), (7, 32.0)):
        record(table.rows[number - 1].experiment, {"segm/AP": value}, write=True)
    drawn = []

    def look(figure, *, title, note):
        texts = [[text.get_text() for text in axes.texts] for axes in figure.axes]
        drawn.append(([label.get_text() for label in figure.axes[0].get_yticklabels()], texts))
        return finish(figure, title=title, note=note)

    monkeypatch.setattr(ablation_gains, "finish", look)
    rows, _, _ = read_table("seanet-2", "demo", params=root / "params.yaml")
    assert ablation_gains.ablation_gains(rows, over=[7]).png
    ((names, (reported, over_1, over_7)),) = drawn
    assert names[0] == "2  FCBoxHead+B-IoU" and names[5] == "7  Mask R-CNN + fusion"
    assert reported == ["+0.20", "+0.40", "+0.50", "+1.00", "+1.20", "not printed", "not printed"]
    assert (over_1[0], over_1[5], over_1[6]) == ("+3.00", "+2.00", "not run")
    assert over_7[0] == "+1.00" and over_7[5] == "+0.00"


def test_tables_without_ablation_have_no_gains(root):
    rows, _, _ = read_table("iemask_rcnn-5", "demo", params=root / "params.yaml")
    with pytest.raises(NothingToDraw, match="no ablation rows"):
        ablation_gains.ablation_gains(rows)


def test_precision_recall(record):
    one = record(ABLATION.rows[0].experiment, {"segm/AP": 30.0})
    assert precision_recall_curves({"Mask R-CNN": one}).png
    with pytest.raises(NothingToDraw, match="evaluate a run first"):
        precision_recall_curves({"a": one}, iou_type="bbox")


def test_training_log_of_a_killed_run(tmp_path):
    log = tmp_path / "run.jsonl"
    entry = {"iteration": 20, "loss": 2.0, "losses": {"loss_mask": 0.5, "loss_box_reg": 1.5}, "learning_rate": 0.01}
    log.write_text(json.dumps(entry) + "\n" + json.dumps(entry | {"iteration": 40}) + '\n{"iteration": 60, "lo')
    assert training_curves({"run": log, "not trained": tmp_path / "none.jsonl"}).png
    assert loss_terms(log).png
    with pytest.raises(NothingToDraw, match="train a run first"):
        training_curves({"not trained": tmp_path / "none.jsonl"})


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "I;16"])
def test_predictions_beside_ground_truth(tmp_path, mode):
    images = tmp_path / "images"
    images.mkdir()
    values = np.full((20, 30), 40, dtype=np.uint16 if mode == "I;16" else np.uint8)
    picture = Image.fromarray(values)
    (picture if mode in ("L", "I;16") else picture.convert(mode)).save(images / "a.png")
    square = [5.0, 5.0, 15.0, 5.0, 15.0, 15.0, 5.0, 15.0]
    truth = {
        "images": [{"id": 0, "file_name": "a.png", "height": 20, "width": 30}],
        "categories": [{"id": 3, "name": "ship"}],
        "annotations": [
            {"id": 0, "image_id": 0, "category_id": 3, "segmentation": [square], "iscrowd": 0},
            {
                "id": 1,
                "image_id": 0,
                "category_id": 3,
                "segmentation": {"size": [20, 30], "counts": [0, 600]},
                "iscrowd": 1,
            },
        ],
    }
    annotations = tmp_path / "val.json"
    annotations.write_text(json.dumps(truth))
    found = [{"image_id": 0, "category_id": 3, "score": 0.9, "segmentation": [square]}]
    (tmp_path / "run.json").write_text(json.dumps(found))
    (tmp_path / "unsure.json").write_text(json.dumps([found[0] | {"score": 0.1}]))

    def draw(name):
        return predictions_grid(images, annotations, {"run": tmp_path / name})

    assert draw("run.json").png == draw("run.json").png
    # a mask below the score is not drawn: less of the mask's orange
    orange = (np.array([213, 94, 0]) - pixels(draw("run.json")).astype(int)).__abs__().sum(-1) < 60
    fewer = (np.array([213, 94, 0]) - pixels(draw("unsure.json")).astype(int)).__abs__().sum(-1) < 60
    assert orange.sum() > fewer.sum() > 0
    with pytest.raises(NothingToDraw, match="evaluate a run first"):
        draw("none.json")


def test_instances_with_names_and_an_empty_mask():
    figure = new_figure(2, 2)
    axes = figure.subplots()
    masks = np.zeros((2, 8, 8), dtype=np.uint8)
    masks[0, 2:5, 2:5] = 1
    draw_instances(axes, np.zeros((8, 8, 3), dtype=np.uint8), masks, ["ship", "nothing"])
    assert [text.get_text() for text in axes.texts] == ["ship"]
    assert finish(figure, title="", note="").png


def test_maps_and_curves_of_weights():
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    assert weight_maps(image, {"N3": np.full((4, 4), 0.5)}, label="weight").png
    assert sorted_values({"C3": np.linspace(0, 1, 5)}, ylabel="gate").png


def test_latency_bars_lie_one_behind_the_other(monkeypatch):
    drawn = []
    monkeypatch.setattr(latency, "finish", lambda figure, **texts: drawn.append(figure) or finish(figure, **texts))
    parts = dict(
        zip(("input", "backbone", "neck", "head", "post-processing"), (1.0, 20.0, 4.0, 10.0, 5.0), strict=True)
    )
    slow = {"parts": parts, "milliseconds": 40.0, "fps": 25.0, "network_fps": 28.6}
    fast = {"parts": dict.fromkeys(parts, 1.0), "milliseconds": 5.0, "fps": 200.0, "network_fps": 250.0}
    assert latency.latency_bars({"slow": slow, "fast": fast}, title="title", note="note").png
    axes = drawn[0].axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["slow", "fast"]
    spans = [[(bar.get_x(), bar.get_x() + bar.get_width()) for bar in group] for group in axes.containers]
    assert [group[0] for group in spans] == [(0, 1), (1, 21), (21, 25), (25, 35), (35, 40)]
    assert [group[1] for group in spans] == [(start, start + 1) for start in range(5)]
    assert [text.get_text() for text in axes.texts] == [
        "40.0 ms: 25.0 FPS, 28.6 without post-processing",
        "5.0 ms: 200.0 FPS, 250.0 without post-processing",
    ]
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == list(parts)


def test_dots_say_how_far_two_rankings_agree(monkeypatch):
    """Equal values share a rank, so that their order in the input counts for nothing."""
    drawn = []
    monkeypatch.setattr(explain, "finish", lambda figure, **texts: drawn.append(figure) or finish(figure, **texts))
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    points = {"same order": (scores, scores**2), "ties": (scores, np.array([0.5, 0.0, 0.0, 0.5]))}
    assert dots(points, xlabel="score", ylabel="IoU").png
    assert [axes.get_title().rpartition(" ")[2] for axes in drawn[0].axes] == ["1.00", "0.00"]
    assert "4 boxes" in drawn[0].axes[0].get_title()


def test_curves_are_drawn_over_their_variable(monkeypatch):
    drawn = []
    monkeypatch.setattr(explain, "finish", lambda figure, **texts: drawn.append(figure) or finish(figure, **texts))
    x = np.linspace(-1, 1, 5)
    assert curves([Curves(xlabel="x", ylabel="y", x=x, lines={"a": x, "b": x**2})] * 2).png
    assert [[line.get_label() for line in axes.lines] for axes in drawn[0].axes] == [["a", "b"]] * 2
    assert drawn[0].axes[1].lines[1].get_ydata().tolist() == [1, 0.25, 0, 0.25, 1]


def test_nothing_to_draw_is_said_and_not_raised(tmp_path, capsys):
    assert draw_or_say(training_curves, {}, path=tmp_path / "x.png") is None
    assert "nothing to draw: no training logs" in capsys.readouterr().out
    assert not (tmp_path / "x.png").exists()


def test_drawing_leaves_matplotlibs_settings_and_needs_no_torch():
    code = (
        "import sys, matplotlib; before = dict(matplotlib.rcParams);"
        "from reprolib.figures.explain import sorted_values; import numpy as np;"
        "from reprolib.figures import ablation_gains, predictions, training_curves;"
        "sorted_values({'a': np.arange(3.0)}, ylabel='y');"
        "print(before == dict(matplotlib.rcParams), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
