"""Detections against the ground truth on single images, as MAI-SE-Net's Fig. 7 shows them. Imports no torch."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from reprolib.figures.instances import as_rle, by_image, draw_mask, pixel_mask, read_pixels
from reprolib.figures.pictures import (
    COLOURS,
    LABEL_GROUND,
    NothingToDraw,
    Picture,
    draw_box,
    finish,
    house_style,
    new_figure,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

TRUTH, MATCHED, FALSE_ALARM, MISSED = COLOURS[2], COLOURS[5], COLOURS[4], "#FF2A2A"


class Matches(NamedTuple):
    """Detections and instances of one image, matched. matched: pairs (detection, instance). The rest are indices."""

    matched: list[tuple[int, int]]
    false_alarms: list[int]
    missed: list[int]


def match(
    detections: Sequence[Mapping],
    instances: Sequence[Mapping],
    *,
    height: int,
    width: int,
    iou_type: str = "segm",
    threshold: float = 0.5,
) -> Matches:
    """Match each detection, best score first, to the unmatched instance of its class with the highest IoU.

    detections: COCO results of one image; instances: its COCO annotations. iou_type: segm (masks) or bbox. The IoU
    must reach `threshold`. A detection without an instance is a false alarm, unless it lies in a crowd: then it does
    not count. Raises ValueError for another iou_type.
    """
    overlaps = _overlaps(detections, instances, height=height, width=width, iou_type=iou_type)
    free = {index for index, instance in enumerate(instances) if not instance.get("iscrowd")}
    crowds = [index for index, instance in enumerate(instances) if instance.get("iscrowd")]
    matched, false_alarms = [], []
    for index in sorted(range(len(detections)), key=lambda index: -detections[index]["score"]):
        category = detections[index]["category_id"]

        def fits(other: int, index: int = index, category: object = category) -> bool:
            return instances[other]["category_id"] == category and overlaps[index, other] >= threshold

        fitting = [other for other in sorted(free) if fits(other)]
        if fitting:
            best = max(fitting, key=lambda other: overlaps[index, other])
            free.discard(best)
            matched.append((index, best))
        elif not any(map(fits, crowds)):
            false_alarms.append(index)
    return Matches(matched, false_alarms, sorted(free))


@house_style
def detection_errors(
    images: str | Path,
    annotations: str | Path,
    results: Mapping[str, str | Path],
    *,
    image_ids: Sequence[int] = (),
    count: int = 4,
    score: float = 0.5,
    iou_type: str = "segm",
    threshold: float = 0.5,
    title: str = "",
    note: str = "",
) -> Picture:
    """A row per method, a column per image: masks, boxes and scores, the ground truth, false alarms, missed objects.

    images: folder. annotations: COCO JSON. results: COCO results JSON by label; detections scored `score` and more
    count. iou_type, threshold: see `match`. image_ids: the images to show; by default `count` of those with objects,
    at equal steps. Numbers are of false negatives (FN) and false positives (FP), beside a row of the whole split.
    """
    files = {label: Path(file) for label, file in results.items() if Path(file).is_file()}
    if not files:
        raise NothingToDraw("no predictions: evaluate a run first")
    truth = json.loads(Path(annotations).read_text())
    instances = by_image(truth["annotations"], crowds=True)
    entries = [entry for entry in truth["images"] if entry["id"] in image_ids]
    if not image_ids:
        entries = [e for e in truth["images"] if any(not item.get("iscrowd") for item in instances.get(e["id"], ()))]
        entries = entries[:: max(1, len(entries) // count)][:count]
    if not entries:
        raise NothingToDraw(f"{annotations}: none of the images")
    tall = max(entry["height"] / entry["width"] for entry in entries)
    figure = new_figure(2.15 * len(entries) + 0.5, (2.1 * tall + 0.3) * len(files) + 0.5)
    panels = figure.subplots(len(files), len(entries), squeeze=False)
    pixels = [read_pixels(Path(images) / entry["file_name"]) for entry in entries]
    for line, (label, file) in zip(panels, files.items(), strict=True):
        detections = by_image(json.loads(file.read_text()), score=score)
        matches = {
            entry["id"]: match(
                detections.get(entry["id"], []),
                instances.get(entry["id"], []),
                height=entry["height"],
                width=entry["width"],
                iou_type=iou_type,
                threshold=threshold,
            )
            for entry in truth["images"]
        }
        missed = sum(len(image.missed) for image in matches.values())
        false_alarms = sum(len(image.false_alarms) for image in matches.values())
        whole = f"{len(matches)} images: FN {missed}, FP {false_alarms}"
        line[0].set_ylabel(f"{textwrap.fill(label, 26)}\n{whole}", fontsize=8)
        for axes, entry, picture in zip(line, entries, pixels, strict=True):
            key = entry["id"]
            axes.imshow(picture, interpolation="nearest")
            _draw(axes, entry, detections.get(key, []), instances.get(key, []), matches[key])
    figure.legend(handles=_legend(), loc="outside upper center", ncols=4, fontsize=8)
    return finish(figure, title=title, note=note)


def _overlaps(
    detections: Sequence[Mapping], instances: Sequence[Mapping], *, height: int, width: int, iou_type: str
) -> np.ndarray:
    """IoU [detections, instances] as COCO's evaluation takes it: with a crowd, the share of the detection inside."""
    import numpy as np
    from pycocotools import mask as coco_mask

    if iou_type not in ("segm", "bbox"):
        raise ValueError(f"iou_type must be 'segm' or 'bbox', not {iou_type!r}")
    if not detections or not instances:
        return np.zeros((len(detections), len(instances)))
    crowds = [int(instance.get("iscrowd") or 0) for instance in instances]
    if iou_type == "bbox":
        shapes = [np.array([item["bbox"] for item in side], dtype=float) for side in (detections, instances)]
    else:
        shapes = [[as_rle(item["segmentation"], height, width) for item in side] for side in (detections, instances)]
    return coco_mask.iou(*shapes, crowds)


def _draw(
    axes: Axes, entry: Mapping, detections: Sequence[Mapping], instances: Sequence[Mapping], matches: Matches
) -> None:
    """One image's detections and ground truth over its pixels."""
    from matplotlib.patches import Ellipse

    for instance in instances:
        if not instance.get("iscrowd"):
            # wider than the box of a detection, so that both show
            draw_box(axes, _corners(instance["bbox"]), TRUTH, width=2.2, zorder=4)
    colours = dict.fromkeys((index for index, _ in matches.matched), MATCHED)
    colours |= dict.fromkeys(matches.false_alarms, FALSE_ALARM)
    for index, colour in colours.items():
        detection = detections[index]
        draw_mask(axes, pixel_mask(detection["segmentation"], entry["height"], entry["width"]), colour)
        draw_box(axes, _corners(detection["bbox"]), colour, width=1.1, zorder=4)
        place = {"xytext": (0, 1.5), "textcoords": "offset points", "ha": "left", "va": "bottom"}
        text = f"{detection['score']:.2f}"
        left, top = max(0.0, detection["bbox"][0]), max(0.04 * entry["height"], detection["bbox"][1])
        axes.annotate(text, (left, top), fontsize=6, color=colour, bbox=LABEL_GROUND, zorder=5, **place)
    for index in matches.missed:
        left, top, wide, high = instances[index]["bbox"]
        room = 0.04 * max(entry["height"], entry["width"])
        sides = 1.42 * wide + room, 1.42 * high + room  # an ellipse through the corners has sqrt(2) times the sides
        centre = left + wide / 2 - 0.5, top + high / 2 - 0.5
        axes.add_patch(Ellipse(centre, *sides, fill=False, edgecolor=MISSED, linewidth=1.5, zorder=6))
    axes.set(xticks=[], yticks=[], xlim=(-0.5, entry["width"] - 0.5), ylim=(entry["height"] - 0.5, -0.5))
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_title(f"FN {len(matches.missed)}, FP {len(matches.false_alarms)}", fontsize=8)


def _corners(box: Sequence[float]) -> tuple[float, float, float, float]:
    """COCO's x, y, width, height as xyxy."""
    left, top, wide, high = box
    return left, top, left + wide, top + high


def _legend() -> list:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    ring = Line2D([], [], marker="o", markersize=9, markerfacecolor="none", markeredgecolor=MISSED, linestyle="none")
    ring.set_label("missed (FN)")
    return [
        Patch(facecolor="none", edgecolor=TRUTH, label="ground truth"),
        Patch(facecolor=MATCHED, edgecolor=MATCHED, label="found: mask, box, score"),
        Patch(facecolor=FALSE_ALARM, edgecolor=FALSE_ALARM, label="false alarm (FP)"),
        ring,
    ]
