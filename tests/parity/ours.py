"""The recording of our side: a system with the reference's seeded weights, on the same scenes and the same boxes."""

from __future__ import annotations

import functools
from pathlib import Path

import torch
from torch import Tensor, nn

from reprolib.models.two_stage.detector import TwoStage
from tests.parity.cases import Case
from tests.parity.layers import background_first, first_come, record_gradients, recorded_layers
from tests.parity.recording import Recording, load
from tests.parity.scenes import Scene, make_scenes
from tests.parity.seeded_weights import seeded_values

GOLDENS = Path(__file__).with_name("goldens")


@functools.cache
def both_sides(case: Case) -> tuple[Recording, Recording]:
    """The reference's recording and ours."""
    reference = load(GOLDENS / f"{case.id}.npz")
    return reference, record(case, reference)


def record(case: Case, reference: Recording) -> Recording:
    """What our system computes. Each part is fed what the reference's part was fed, as far as it is recorded."""
    model = case.build()
    fill_from_reference(model, case, reference)
    recording = Recording()
    scenes = make_scenes(**case.scenes)
    images, targets = inputs(scenes)
    with first_come():
        if case.whole:
            _record_whole(model, case, reference, recording, images, targets)
        else:
            _record_two_stage(model, case, reference, recording, images, targets)
    return recording


def inputs(scenes: list[Scene]) -> tuple[list[Tensor], list[dict]]:
    """Images and targets of the detector contract."""
    images = [torch.from_numpy(scene.image).permute(2, 0, 1) / 255 for scene in scenes]
    targets = [
        {
            "boxes": torch.from_numpy(scene.boxes),
            "labels": torch.from_numpy(scene.labels) + 1,
            "masks": torch.from_numpy(scene.masks).to(torch.uint8),
            "semantic": torch.from_numpy(scene.stuff),
        }
        for scene in scenes
    ]
    return images, targets


@torch.no_grad()
def fill_from_reference(model: nn.Module, case: Case, reference: Recording) -> None:
    """Give our model the reference's seeded weights.

    Raises ValueError for a parameter or buffer of either side that has no counterpart.
    """
    state = model.state_dict()
    unfilled = {name for name in state if not name.endswith("num_batches_tracked")}
    for name, shape in reference.shapes.items():
        our_name = case.renames(name)
        if our_name is None:
            continue
        values = seeded_values(name, shape, damping=case.damping)
        values = background_first(values, axis=0) if case.renames.rolled(name) else values
        if our_name not in unfilled or state[our_name].numel() != values.numel():
            raise ValueError(f"{case.id}: {name} {list(shape)} has no place {our_name!r} of its size in our model")
        state[our_name].copy_(values.reshape(state[our_name].shape))
        unfilled.remove(our_name)
    if unfilled:
        raise ValueError(f"{case.id}: the reference has nothing for our {', '.join(sorted(unfilled))}")


def _record_two_stage(
    model: TwoStage,
    case: Case,
    reference: Recording,
    recording: Recording,
    images: list[Tensor],
    targets: list[dict],
) -> None:
    count = len(images)
    model.eval()
    with torch.no_grad():
        batch, _ = model.transform(images)
        recording.sample("input", "input", batch.tensors)
        with recorded_layers(model, reference.shapes, case.renames, recording, ours=True):
            features = model.pyramid(batch)
            proposals, _ = model.rpn(batch, features)
            for index, boxes in enumerate(proposals):
                recording.keep(f"proposals {index}", boxes)
            given = [torch.from_numpy(reference.arrays[f"proposals {index}"]) for index in range(count)]
            encoded = model._prepared(batch, features)
            detections = model.roi_heads.box_inference(features, encoded.context, given, batch.image_sizes)
            detections = model._with_masks(encoded, detections)
        _keep_detections(recording, "detections", detections)
        _keep_detections(recording, "end to end", model(images))

    model.train()
    batch, targets = model.transform(images, targets)
    features = model.pyramid(batch)
    anchors = model.rpn.anchor_generator(batch, features)
    labels, matched = model.rpn.assign_targets_to_anchors(anchors, targets)
    for index in range(count):
        positive = labels[index] == 1
        recording.keep(f"anchor labels {index}", labels[index].to(torch.int8))
        deltas = model.rpn.box_coder.encode(matched[index][positive], anchors[index][positive])
        recording.keep(f"anchor deltas {index}", deltas)
    proposals, losses = model.rpn(batch, features, targets)
    for index, boxes in enumerate(proposals):
        recording.keep(f"training proposals {index}", boxes)
    given = [torch.from_numpy(reference.arrays[f"training proposals {index}"]) for index in range(count)]
    losses |= model.roi_heads(features, given, batch.image_sizes, targets)
    _keep_losses(model, case, reference, recording, losses)


def _record_whole(
    model: nn.Module,
    case: Case,
    reference: Recording,
    recording: Recording,
    images: list[Tensor],
    targets: list[dict],
) -> None:
    """A case without proposals: from images to detections and losses in one go."""
    model.eval()
    with torch.no_grad():
        recording.sample("input", "input", model.transform(images)[0].tensors)
        with recorded_layers(model, reference.shapes, case.renames, recording, ours=True):
            detections = model(images)
        _keep_detections(recording, "end to end", detections)
    model.train()
    _keep_losses(model, case, reference, recording, model(images, targets))


def _keep_losses(
    model: nn.Module, case: Case, reference: Recording, recording: Recording, losses: dict[str, Tensor]
) -> None:
    """The losses and the gradient of each."""
    for name, loss in losses.items():
        recording.keep(f"loss {name}", loss)
    parameters = dict(model.named_parameters())
    named = {name: case.renames(name) for name in reference.shapes}
    pairs = {name: (parameters[ours], case.renames.rolled(name)) for name, ours in named.items() if ours in parameters}
    record_gradients(losses, pairs, recording)


def _keep_detections(recording: Recording, name: str, detections: list[dict[str, Tensor]]) -> None:
    for index, found in enumerate(detections):
        recording.keep(f"{name}: boxes {index}", found["boxes"])
        recording.keep(f"{name}: labels {index}", found["labels"])
        recording.keep(f"{name}: scores {index}", found.get("mask_scores", found["scores"]))
        recording.keep(f"{name}: pixels {index}", found["masks"])
