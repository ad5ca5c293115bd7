"""Golden arrays from detectron2, on CPU and without its compiled operators, which no compared system calls.

git clone https://github.com/facebookresearch/detectron2 FOLDER/detectron2-source
pip install --no-deps --target FOLDER fvcore iopath yacs portalocker termcolor
python -m tests.parity.make.detectron2 --reference FOLDER [CASE ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from tests.parity.cases import CHANNELS, DETECTIONS, HIDDEN, POST_NMS, PRE_NMS, Case
from tests.parity.layers import first_come, record_gradients, recorded_layers
from tests.parity.make import command_line
from tests.parity.recording import Recording
from tests.parity.scenes import CLASSES, make_scenes
from tests.parity.seeded_weights import fill

SOURCE = "detectron2-source"


def record(case: Case, folder: Path) -> Recording:
    """What the reference computes for a two-stage case."""
    from detectron2.utils.events import EventStorage

    model = build(case, folder)
    recording = Recording(shapes=fill(model, damping=case.damping), about=versions(folder))
    with first_come(), EventStorage(0):
        _record_two_stage(model, case, recording)
    return recording


def build(case: Case, folder: Path) -> nn.Module:
    """The detector of the case's configuration, narrow and with few proposals."""
    from detectron2.config import get_cfg
    from detectron2.modeling import build_model

    settings = get_cfg()
    settings.merge_from_file(str(folder / SOURCE / "configs" / case.config))
    model = settings.MODEL
    model.DEVICE, model.WEIGHTS, model.FPN.OUT_CHANNELS = "cpu", "", CHANNELS
    model.ROI_BOX_HEAD.FC_DIM, model.ROI_MASK_HEAD.CONV_DIM = HIDDEN, CHANNELS
    model.ROI_HEADS.NUM_CLASSES = CLASSES
    model.RPN.PRE_NMS_TOPK_TRAIN, model.RPN.PRE_NMS_TOPK_TEST = PRE_NMS
    model.RPN.POST_NMS_TOPK_TRAIN, model.RPN.POST_NMS_TOPK_TEST = POST_NMS
    settings.TEST.DETECTIONS_PER_IMAGE = DETECTIONS
    return build_model(settings)


def _inputs(case: Case) -> list[dict]:
    from detectron2.structures import BitMasks, Boxes, Instances

    inputs = []
    for scene in make_scenes(**case.scenes):
        height, width = scene.image.shape[:2]
        truth = Instances((height, width))
        truth.gt_boxes = Boxes(torch.from_numpy(scene.boxes))
        truth.gt_classes = torch.from_numpy(scene.labels).long()
        truth.gt_masks = BitMasks(torch.from_numpy(scene.masks))
        bgr = torch.from_numpy(np.ascontiguousarray(scene.image[:, :, ::-1].transpose(2, 0, 1)))
        inputs.append({"image": bgr, "instances": truth, "height": height, "width": width})
    return inputs


def _record_two_stage(model: nn.Module, case: Case, recording: Recording) -> None:
    inputs = _inputs(case)
    model.eval()
    with torch.no_grad():
        images = model.preprocess_image(inputs)
        recording.sample("input", "input", images.tensor)
        with recorded_layers(model, recording.shapes, case.renames, recording, ours=False):
            features = model.backbone(images.tensor)
            proposals, _ = model.proposal_generator(images, features, None)
            detections, _ = model.roi_heads(images, features, proposals, None)
        detections = model._postprocess(detections, inputs, images.image_sizes)
        for index, (boxes, result) in enumerate(zip(proposals, detections, strict=True)):
            recording.keep(f"proposals {index}", boxes.proposal_boxes.tensor)
            found = result["instances"]
            for name in ("detections", "end to end"):
                recording.keep(f"{name}: boxes {index}", found.pred_boxes.tensor)
                recording.keep(f"{name}: labels {index}", found.pred_classes + 1)
                recording.keep(f"{name}: scores {index}", found.scores)
                recording.keep(f"{name}: pixels {index}", found.pred_masks)

    model.train()
    truth = [entry["instances"] for entry in inputs]
    images = model.preprocess_image(inputs)
    features = model.backbone(images.tensor)
    _keep_anchor_targets(model.proposal_generator, features, truth, recording)
    proposals, losses = model.proposal_generator(images, features, truth)
    for index, boxes in enumerate(proposals):
        recording.keep(f"training proposals {index}", boxes.proposal_boxes.tensor)
    _, of_boxes = model.roi_heads(images, features, proposals, truth)
    losses = {case.loss_name(name): loss for name, loss in (losses | of_boxes).items()}
    for name, loss in losses.items():
        recording.keep(f"loss {name}", loss)
    record_gradients(
        losses, {name: (value, False) for name, value in model.named_parameters() if case.renames(name)}, recording
    )


def _keep_anchor_targets(rpn: nn.Module, features: dict, truth: list, recording: Recording) -> None:
    """Labels of all anchors, 1 positive, 0 background, -1 neither, and the deltas of the positive ones."""
    from detectron2.structures import Boxes

    anchors = Boxes.cat(rpn.anchor_generator([features[name] for name in rpn.in_features]))
    sample, rpn._subsample_labels = rpn._subsample_labels, lambda labels: labels
    labels, boxes = rpn.label_and_sample_anchors([anchors], truth)
    rpn._subsample_labels = sample
    for index in range(len(truth)):
        positive = labels[index] == 1
        recording.keep(f"anchor labels {index}", labels[index].to(torch.int8))
        deltas = rpn.box2box_transform.get_deltas(anchors.tensor[positive], boxes[index][positive])
        recording.keep(f"anchor deltas {index}", deltas)


def versions(folder: Path) -> dict[str, str]:
    """What the arrays depend on."""
    import detectron2

    # A checkout without its history says in this file which commit it is of.
    commit = folder / SOURCE / "COMMIT"
    return {
        "reference": "detectron2",
        "version": f"{detectron2.__version__} {commit.read_text().strip()[:12] if commit.exists() else ''}".strip(),
    }


def prepare(folder: Path) -> None:
    """Make the reference importable."""
    sys.path[:0] = [str(folder / SOURCE), str(folder)]
    if not hasattr(Image, "LINEAR"):
        Image.LINEAR = Image.BILINEAR  # the name of older versions of Pillow, which the reference uses


if __name__ == "__main__":
    command_line.main("detectron2", prepare, record)
