"""`reprolib segment`: a picture and COCO JSON from an image and boxes; one line that helps where something is wrong."""

import json
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from safetensors.torch import load_file, save_file

from reprolib.cli import main
from reprolib.figures.pictures import COLOURS
from reprolib.prompting.overlay import blend, overlay
from reprolib.prompting.promptable import load_promptable
from reprolib.prompting.segment import PromptedImage, open_image

WEIGHTS = "results/demo/weights/coco-mask_rcnn_r50-0.safetensors"


def picture(path, mode="RGB"):
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)
    if mode == "I;16":
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 200).save(path)
    else:
        Image.fromarray(pixels).convert(mode).save(path)
    return str(path)


def test_it_writes_what_pycocotools_loads(working, tmp_path, capsys):
    image = picture(tmp_path / "field.png")
    out = tmp_path / "out"
    assert (
        main(["segment", image, "--boxes", "10,5,50,45", "20,10,79,59.5", "--weights", WEIGHTS, "--out", str(out)]) == 0
    )
    shown = capsys.readouterr().out.splitlines()
    assert shown[-2:] == [str(out / "field-segments.png"), str(out / "field-segments.json")]
    assert shown[0].startswith("box 0  10,5,50,45  ") and shown[1].startswith("box 1  20,10,79,59.5  ")
    assert sorted(path.name for path in out.iterdir()) == ["field-segments.json", "field-segments.png"]

    coco = COCO(str(out / "field-segments.json"))
    assert coco.loadImgs([1])[0] | {"license": None} == {
        "id": 1,
        "file_name": "field.png",
        "height": 60,
        "width": 80,
        "license": None,
    }
    promptable = load_promptable(WEIGHTS)
    found = PromptedImage(promptable, open_image(image), name="x").segment(
        torch.tensor([[10.0, 5, 50, 45], [20, 10, 79, 59.5]])
    )
    annotations = coco.loadAnns(coco.getAnnIds())
    assert [one["bbox"] for one in annotations] == [[10, 5, 40, 40], [20, 10, 59, 49.5]]
    for row, one in enumerate(annotations):
        assert np.array_equal(coco.annToMask(one), found["masks"][row].numpy())
        assert one["area"] == found["masks"][row].sum() and one["score"] == pytest.approx(found["scores"][row].item())
        assert one["category_id"] == 10 * found["labels"][row].item()  # the data set's own ids, not labels
        assert coco.loadCats([one["category_id"]])[0]["name"] in shown[row]


def test_given_labels_are_kept(working, tmp_path, capsys):
    image = picture(tmp_path / "field.png")
    arguments = ["segment", image, "--boxes", "10,5,50,45", "1,1,9,9", "--weights", WEIGHTS, "--out", str(tmp_path)]
    assert main([*arguments, "--labels", "car", "person"]) == 0
    shown = capsys.readouterr().out.splitlines()
    assert "  car  " in shown[0] and "  person  " in shown[1]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "I;16", "CMYK"])
def test_images_of_other_modes_are_read_as_the_data_layer_reads_them(working, tmp_path, mode):
    image = picture(tmp_path / ("field.tif" if mode == "CMYK" else "field.png"), mode)
    arguments = ["segment", image, "--boxes", "10,5,50,45", "--weights", "coco-mask_rcnn_r50", "--out", str(tmp_path)]
    assert main(arguments) == 0
    assert (tmp_path / "field-segments.json").is_file()


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ("-3,5,20,20", r"box 0 (-3, 5, 20, 20) reaches outside"),
        ("3,5,81,20", r"outside the image, which is 80 px wide and 60 px high"),
        ("20,5,3,20", "is inverted"),
        ("nan,5,20,20", "no finite number"),
        ("3,5,3,20", "has no area"),
        ("3,5,20", "neither x1,y1,x2,y2 in pixels nor a JSON file"),
    ],
)
def test_bad_boxes_are_named_before_a_model_is_built(tmp_path, monkeypatch, capsys, box, message):
    monkeypatch.chdir(tmp_path)  # without weights or params.yaml: neither is looked for
    image = picture(tmp_path / "field.png")
    assert main(["segment", image, "--boxes", box, "--weights", WEIGHTS]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "segments").exists()


def test_too_many_boxes_are_refused(tmp_path, monkeypatch, capsys):
    image = picture(tmp_path / "field.png")
    (tmp_path / "boxes.json").write_text(json.dumps([[1, 1, 9, 9]] * 1001))
    assert main(["segment", image, "--boxes", str(tmp_path / "boxes.json"), "--weights", WEIGHTS]) == 2
    assert f"{image}: 1001 boxes are too many" in capsys.readouterr().err


def test_images_that_cannot_be_read_are_named(tmp_path, capsys):
    (tmp_path / "text.png").write_text("no picture")
    for name, message in (("no.png", "missing"), ("text.png", "unreadable image"), ("", "is a folder")):
        path = str(tmp_path / name) if name else str(tmp_path)
        assert main(["segment", path, "--boxes", "1,1,9,9", "--weights", WEIGHTS]) == 2
        error = capsys.readouterr().err
        assert path in error and message in error and error.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name the model: --weights FILE, or --experiment ADDRESS"),
        (["--weights", "no.safetensors"], "no.safetensors: no such weights"),
        (["--weights", "coco-maskrcnn_r50"], "did you mean coco-mask_rcnn_r50"),
        (["--weights", "seanet-2"], "names 8 experiments where one is taken; choose from seanet-2:1"),
        (["--weights", "seanet-2:1"], "~dialect.mm-0.safetensors is missing: train"),
        (["--weights", "params.yaml"], "params.yaml is no safetensors file"),
        (["--weights", WEIGHTS, "--profile", "paper"], "is of profile 'demo', not 'paper'; leave --profile out"),
        (["--weights", WEIGHTS, "--experiment", "coco-mask_rcnn_r101"], "is of experiment 'coco-mask_rcnn_r50', not"),
        (["--experiment", "coco-mask_rcnn_r50", "--seed", "5"], "coco-mask_rcnn_r50-5.safetensors is missing: train"),
        (["--weights", WEIGHTS, "--labels", "zeppelin"], "no class 'zeppelin'"),
        (["--weights", WEIGHTS, "--out", "params.yaml"], "params.yaml: cannot be written to"),
    ],
)
def test_a_wrong_model_or_place_is_one_line(working, tmp_path, capsys, arguments, message):
    image = picture(tmp_path / "field.png")
    assert main(["segment", image, "--boxes", "1,1,9,9", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_weights_that_do_not_say_what_they_are_need_the_experiment(working, tmp_path, capsys):
    image, silent = picture(tmp_path / "field.png"), tmp_path / "best.safetensors"
    save_file(load_file(WEIGHTS), silent)
    arguments = ["segment", image, "--boxes", "1,1,9,9", "--weights", str(silent), "--out", str(tmp_path)]
    assert main(arguments) == 2
    assert "best.safetensors does not say which run it is of" in capsys.readouterr().err
    assert main([*arguments, "--experiment", "coco-mask_rcnn_r50", "--profile", "demo"]) == 0
    capsys.readouterr()
    assert main([*arguments, "--experiment", "coco-mask_rcnn_r101", "--profile", "demo"]) == 2
    assert "was it trained as this experiment" in capsys.readouterr().err


def test_copied_weights_suffice_wherever_they_lie(working, tmp_path):
    shutil.copy(WEIGHTS, tmp_path / "mine.st")
    promptable = load_promptable(tmp_path / "mine.st")
    assert promptable.run.id == "coco-mask_rcnn_r50-0" and promptable.run.profile == "demo"
    assert promptable.names[0] == "person" and not promptable.model.training


def test_an_image_is_encoded_once_for_all_its_prompts(working, tmp_path):
    promptable = load_promptable(WEIGHTS)
    calls = []
    promptable.model.backbone.register_forward_hook(lambda *_: calls.append(1))
    prompted = PromptedImage(promptable, open_image(picture(tmp_path / "a.png")), name="a.png")
    one = prompted.segment(torch.tensor([[10.0, 5, 50, 45]]))
    both = prompted.segment(torch.tensor([[1.0, 1, 70, 50], [10, 5, 50, 45]]))
    assert len(calls) == 1
    assert torch.equal(one["masks"][0], both["masks"][1])


def test_masks_are_filled_and_outlined_in_the_colour_of_their_box():
    image = torch.full((3, 8, 8), 100, dtype=torch.uint8)
    masks = torch.zeros((2, 8, 8), dtype=torch.bool)
    masks[0, 1:6, 2:7] = True
    pixels = blend(image, masks)
    red = np.array([int(COLOURS[0][i : i + 2], 16) for i in (1, 3, 5)])
    assert pixels[1, 2].tolist() == pixels[5, 6].tolist() == red.tolist()  # the outline
    assert pixels[3, 4].tolist() == (100 + 0.45 * (red - 100)).round().astype(int).tolist()
    outside = ~masks[0].numpy()
    assert (pixels[outside] == 100).all()
    found = {"boxes": torch.tensor([[2.0, 1, 7, 6], [0, 0, 3, 3]]), "labels": torch.tensor([1, 2])}
    found |= {"scores": torch.tensor([0.5, 0.25]), "masks": masks}
    drawn = overlay(image, found, ["ship", "plane"])
    assert drawn.png == overlay(image, found, ["ship", "plane"]).png  # same input, same bytes
