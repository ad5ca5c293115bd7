"""Masks of prompts as a COCO document, as pycocotools and annotation tools load it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from reprolib.engine.inference import coco_results


def coco_document(
    segments: Mapping[str, Tensor],
    *,
    file_name: str,
    size: tuple[int, int],
    categories: Sequence[Mapping[str, object]],
    model: str,
) -> dict[str, object]:
    """One image's masks as a COCO document: `images`, `categories`, `annotations` in the order of the prompts.

    segments: of `model.segment`. size: (height, width). An annotation has its mask as compressed RLE, the mask's pixels
    as `area`, the score, and as `bbox` the prompt, [x,y,width,height] in px.
    """
    results = coco_results(segments, image_id=1, category_ids=[category["id"] for category in categories], size=size)
    areas = segments["masks"].flatten(1).sum(1).tolist()
    height, width = size
    return {
        "info": {"description": f"masks of box prompts by {model}; bbox is the prompt as given"},
        "images": [{"id": 1, "file_name": file_name, "height": height, "width": width}],
        "categories": [dict(category) for category in categories],
        "annotations": [
            result | {"id": number, "area": area, "iscrowd": 0}
            for number, (result, area) in enumerate(zip(results, areas, strict=True), start=1)
        ],
    }
