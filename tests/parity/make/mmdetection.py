"""Golden arrays from mmdetection 3.3.0, on CPU and without its compiled operators.

    pip install --no-deps --target FOLDER mmdet==3.3.0 mmcv-lite==2.1.0 mmengine addict yapf rich termcolor \
        terminaltables shapely opencv-python-headless
    python -m tests.parity.make.mmdetection --reference FOLDER [CASE ...]
"""

from __future__ import annotations

import functools
import math
import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.ops import masks_to_boxes

from tests.parity.cases import CHANNELS, DETECTIONS, EVERY, HIDDEN, POST_NMS, PRE_NMS, Case
from tests.parity.layers import first_come, record_gradients, recorded_layers
from tests.parity.make import command_line, mmcv_kernels
from tests.parity.recording import Recording
from tests.parity.scenes import CLASSES, make_scenes
from tests.parity.seeded_weights import fill

COCO_CLASSES = 80
NARROWED = {256: CHANNELS, 1024: HIDDEN, COCO_CLASSES: CLASSES}
# Widths inside of heads that follow the pyramid's width of 256.
IN_PROPORTION = ("embed_dims", "num_feats", "feedforward_channels", "feat_channels", "proposal_feature_channel")
PARTS = ("neck", "rpn_head", "roi_head", "mask_head", "bbox_head", "panoptic_head", "panoptic_fusion_head")


def record(case: Case, folder: Path) -> Recording:
    """What the reference computes for a case."""
    model = build(case, folder)
    recording = Recording(shapes=fill(model, damping=case.damping), about=versions())
    with first_come():
        (_record_whole if case.whole else _record_two_stage)(model, case, recording)
    return recording


def build(case: Case, folder: Path) -> nn.Module:
    """The detector of the case's configuration, narrow, with few proposals and no random draw."""
    from mmdet.registry import MODELS
    from mmengine.config import Config

    settings = Config.fromfile(folder / "mmdet/.mim/configs" / case.config).model
    settings.backbone.init_cfg = None
    for key, value in case.edits.items():
        *path, last = key.split(".")
        functools.reduce(getattr, path, settings)[last] = value
    for part in PARTS:
        _narrow(settings.get(part))
    if not case.whole:
        for rule, index in ((settings.train_cfg.rpn_proposal, 0), (settings.test_cfg.rpn, 1)):
            rule.nms_pre, rule.max_per_img = PRE_NMS[index], POST_NMS[index]
        stages = settings.train_cfg.rcnn
        for rule in (settings.train_cfg.rpn, *(stages if isinstance(stages, list) else [stages])):
            rule.sampler.num = EVERY
        settings.test_cfg.rcnn.max_per_img = DETECTIONS
    model = MODELS.build(settings)
    if type(getattr(model, "roi_head", None)).__name__ == "HybridTaskCascadeRoIHead":
        _average_all_stages(model.roi_head)
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
        if isinstance(module, nn.GroupNorm):
            module.num_groups = math.gcd(32, module.num_channels)  # 32 at the published widths
    return model


def _average_all_stages(roi_head: nn.Module) -> None:
    """Masks are the mean of all three stages', as published and in mmdetection 2.x.

    In 3.3.0 `htc_roi_head.py` appends to its list behind the loop over stages, so that the last one is all there is.
    """
    published = roi_head._mask_forward

    def forward(stage: int, x, rois: Tensor, semantic_feat: Tensor | None = None, training: bool = True) -> dict:
        if training:
            return published(stage, x, rois, semantic_feat, training)
        every = []
        hooks = [
            head.conv_logits.register_forward_hook(lambda module, inputs, logits: every.append(logits))
            for head in roi_head.mask_head
        ]
        published(stage, x, rois, semantic_feat, training)
        for hook in hooks:
            hook.remove()
        return {"mask_preds": every}

    roi_head._mask_forward = forward


def _narrow(settings) -> None:
    """Bring every width and every number of classes to this comparison's; lists of widths are the backbone's."""
    for key, value in settings.items() if isinstance(settings, dict) else ():
        if isinstance(value, list):
            for entry in value:
                _narrow(entry)
        elif isinstance(value, dict):
            _narrow(value)
        elif key in IN_PROPORTION:
            settings[key] = value * CHANNELS // 256
        elif key.endswith(("channels", "_classes")):
            settings[key] = NARROWED.get(value, value)


def samples_of(scenes) -> tuple[list[Tensor], list]:
    """The images, uint8 BGR [3,H,W], and their data samples."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData, PixelData

    images, samples = [], []
    for scene in scenes:
        size = scene.image.shape[:2]
        images.append(torch.from_numpy(np.ascontiguousarray(scene.image[:, :, ::-1].transpose(2, 0, 1))))
        sample = DetDataSample(
            metainfo={"img_shape": size, "ori_shape": size, "pad_shape": size, "scale_factor": (1.0, 1.0)}
        )
        sample.gt_instances = InstanceData(
            bboxes=torch.from_numpy(scene.boxes),
            labels=torch.from_numpy(scene.labels).long(),
            masks=BitmapMasks(scene.masks.astype(np.uint8), *size),
        )
        sample.gt_sem_seg = PixelData(sem_seg=torch.from_numpy(scene.stuff)[None])
        samples.append(sample)
    return images, samples


def _record_two_stage(model: nn.Module, case: Case, recording: Recording) -> None:
    model.eval()
    with torch.no_grad():
        batch, samples = _inputs(model, case, training=False)
        recording.sample("input", "input", batch)
        with recorded_layers(model, recording.shapes, case.renames, recording, ours=False):
            features = model.extract_feat(batch)
            proposals = model.rpn_head.predict(features, samples, rescale=False)
            detections = model.roi_head.predict(features, proposals, samples, rescale=True)
        for index, (boxes, found) in enumerate(zip(proposals, detections, strict=True)):
            recording.keep(f"proposals {index}", boxes.bboxes)
            for name in ("detections", "end to end"):
                recording.keep(f"{name}: boxes {index}", found.bboxes)
                recording.keep(f"{name}: labels {index}", found.labels + 1)
                recording.keep(f"{name}: scores {index}", found.scores)
                recording.keep(f"{name}: pixels {index}", found.masks)

    model.train()
    batch, samples = _inputs(model, case, training=True)
    features = model.extract_feat(batch)
    without_classes = _inputs(model, case, training=True)[1]
    for sample in without_classes:
        sample.gt_instances.labels = torch.zeros_like(sample.gt_instances.labels)
    _keep_anchor_targets(model.rpn_head, features, without_classes, recording)
    of_proposals, proposals = model.rpn_head.loss_and_predict(
        features, without_classes, proposal_cfg=model.train_cfg.rpn_proposal
    )
    for index, boxes in enumerate(proposals):
        recording.keep(f"training proposals {index}", boxes.bboxes)
    of_boxes = model.roi_head.loss(features, proposals, samples)
    losses = {}
    for name, loss in (of_proposals | of_boxes).items():
        our_name = case.loss_name(name)
        if our_name:
            losses[our_name] = sum(loss) if isinstance(loss, (list, tuple)) else loss
            recording.keep(f"loss {our_name}", losses[our_name])
    record_gradients(
        losses, {name: (value, False) for name, value in model.named_parameters() if case.renames(name)}, recording
    )


def _record_whole(model: nn.Module, case: Case, recording: Recording) -> None:
    """A case without proposals: from images to detections and losses in one go."""
    model.eval()
    with torch.no_grad():
        batch, samples = _inputs(model, case, training=False)
        recording.sample("input", "input", batch)
        with recorded_layers(model, recording.shapes, case.renames, recording, ours=False):
            results = model.predict(batch, samples, rescale=True)
        for index, result in enumerate(results):
            found = result.pred_instances
            # Ours leave out detections without a pixel, and come best first; SOLO's have no boxes in the reference.
            found = found[found.masks.flatten(1).any(1)]
            found = found[found.scores.argsort(descending=True, stable=True)]
            boxes = found.bboxes if found.bboxes.any() else masks_to_boxes(found.masks) + torch.tensor([0, 0, 1, 1])
            recording.keep(f"end to end: boxes {index}", boxes)
            recording.keep(f"end to end: labels {index}", found.labels + 1)
            recording.keep(f"end to end: scores {index}", found.scores)
            recording.keep(f"end to end: pixels {index}", found.masks)
    model.train()
    batch, samples = _inputs(model, case, training=True)
    losses: dict[str, Tensor] = {}
    for name, loss in model.loss(batch, samples).items():
        our_name = case.loss_name(name)
        if our_name:
            total = sum(loss) if isinstance(loss, (list, tuple)) else loss
            losses[our_name] = losses.get(our_name, 0) + total
    for name, loss in losses.items():
        recording.keep(f"loss {name}", loss)
    record_gradients(
        losses, {name: (value, False) for name, value in model.named_parameters() if case.renames(name)}, recording
    )


def _inputs(model: nn.Module, case: Case, *, training: bool) -> tuple[Tensor, list]:
    images, samples = samples_of(make_scenes(**case.scenes))
    if case.whole:
        for sample in samples:
            del sample.gt_sem_seg
    prepared = model.data_preprocessor({"inputs": images, "data_samples": samples}, training)
    return prepared["inputs"], prepared["data_samples"]


def _keep_anchor_targets(head: nn.Module, features, samples: list, recording: Recording) -> None:
    """Labels of all anchors, 1 positive, 0 background, -1 neither, and the deltas of the positive ones."""
    sizes = [level.shape[-2:] for level in features]
    metas, instances = [sample.metainfo for sample in samples], [sample.gt_instances for sample in samples]
    anchors, valid = head.get_anchors(sizes, metas, device="cpu")
    targets = head.get_targets(anchors, valid, instances, metas)
    labels, weights, deltas = (torch.cat(levels, 1) for levels in targets[:3])
    for index in range(len(samples)):
        positive = labels[index] == 0
        kinds = torch.where(positive, 1, torch.where(weights[index] > 0, 0, -1))
        recording.keep(f"anchor labels {index}", kinds.to(torch.int8))
        recording.keep(f"anchor deltas {index}", deltas[index][positive])


def versions() -> dict[str, str]:
    """What the arrays depend on."""
    import mmcv
    import mmdet

    return {"reference": "mmdetection", "version": mmdet.__version__, "mmcv": mmcv.__version__}


def prepare(folder: Path) -> None:
    """Make the reference importable."""
    sys.path.insert(0, str(folder))
    mmcv_kernels.install()
    from mmdet.utils import register_all_modules

    register_all_modules(init_default_scope=True)


if __name__ == "__main__":
    command_line.main("mmdetection", prepare, record)
