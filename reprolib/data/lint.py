"""Check a COCO-format split before anything is spent on it.

What is an error, what is a counted skip, what a warning ("mmdet", "d2": as these tools do in training):

| found | training | lint |
|---|---|---|
| no JSON, a list missing, wrong types | DataError | error |
| id missing, not an integer, used twice | DataError | error |
| unknown image or category, category name twice or missing | DataError | error |
| width or height missing or not positive, no file name, file name outside the folder | DataError | error |
| image file missing | DataError | error |
| image unreadable, or of another size than the JSON says | DataError on access | error |
| no `segmentation`, NaN or text in a polygon, polygon far outside its image | DataError | error |
| RLE of another size, RLE that does not fill its size | DataError | error |
| `bbox` not four numbers, `iscrowd` neither 0 nor 1 | DataError | error |
| polygon with fewer than 3 points or an odd number of coordinates | skipped, counted (d2) | warning |
| no usable polygon left, mask without a pixel | skipped, counted (d2, mmdet) | warning |
| `bbox` under 1 px wide or high | skipped, counted (mmdet) | warning |
| crowd | skipped, counted (d2, mmdet) | counted |
| `ignore` set | skipped, counted (mmdet) | counted |
| image without a usable instance | skipped, counted (d2, mmdet) | counted |
| `area` or `bbox` missing, `area` of another size class than the mask, box out of the image | - | warning |
| annotation id 0, file name twice, size class or class without instances | - | warning |

Evaluation keeps every image, and crowds; it skips what has no mask pixel. `iscrowd`, licences and
supercategories may be missing or null. Image, annotation and category ids may start at 0.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from reprolib.data import masks
from reprolib.data.document import check_document, file_name, is_side, read_document
from reprolib.data.errors import DataError
from reprolib.data.findings import Findings
from reprolib.data.images import size_message

__all__ = ["SIZE_CLASSES", "DataError", "LintReport", "lint", "size_class"]

SIZE_CLASSES = ("small", "medium", "large")  # COCO: below 32 squared, below 96 squared, from there on


@dataclass(frozen=True, kw_only=True)
class LintReport:
    """What a look at a split found. Errors stop a training, warnings explain its numbers, counts describe
    it."""

    annotations: str
    images: str
    errors: tuple[str, ...]
    warnings: tuple[str, ...]
    counts: dict[str, int]

    def text(self) -> str:
        """The report for people, one finding per line."""
        lines = [f"{self.annotations} with {self.images}"]
        lines += [f"  error: {error}" for error in self.errors]
        lines += [f"  warning: {warning}" for warning in self.warnings]
        if self.counts:
            lines.append("  " + ", ".join(f"{count} {name}" for name, count in self.counts.items()))
        lines.append(f"  {len(self.errors)} kinds of errors, {len(self.warnings)} kinds of warnings")
        return "\n".join(lines)


def lint(annotations: Path, images: Path) -> LintReport:
    """Look at a split's JSON, masks and image headers. Raises nothing: whatever is wrong is in the report."""
    annotations, images = Path(annotations), Path(images)
    findings, counts = Findings(), Counter()
    try:
        document = read_document(annotations)
    except DataError as error:
        errors: tuple[str, ...] = (str(error),)
    else:
        check_document(document, findings)
        _check_masks(document, findings, counts)
        _check_files(document, images, findings)
        errors = findings.errors
    return LintReport(
        annotations=str(annotations),
        images=str(images),
        errors=errors,
        warnings=findings.warnings,
        counts=dict(counts),
    )


def size_class(area: float) -> str:
    """COCO's size class of an area in px."""
    return SIZE_CLASSES[(area >= 32**2) + (area >= 96**2)]


def _check_masks(document: dict, findings: Findings, counts: Counter) -> None:
    images = {image["id"]: image for image in document["images"] if _has_size(image) and type(image.get("id")) is int}
    counts.update({"images": len(document["images"]), "annotations": len(document["annotations"])})
    counts.update(dict.fromkeys(SIZE_CLASSES, 0))
    counts["images without annotation"] = 0
    used, annotated = set(), set()
    for annotation in document["annotations"]:
        number = annotation.get("image_id")
        image = images.get(number) if type(number) is int else None
        if image is None or annotation.get("segmentation") is None:
            continue  # reported already
        annotated.add(image["id"])
        crowd = bool(annotation.get("iscrowd"))
        counts["crowds"] += crowd
        counts["marked `ignore`"] += bool(annotation.get("ignore"))
        pixels = _pixels(annotation, image, findings)
        area = _area(annotation, findings)
        if pixels and not crowd:
            used.add(str(annotation.get("category_id")))
            counts[size_class(pixels if area is None else area)] += 1
            if area is not None and size_class(area) != size_class(pixels):
                findings.warning(
                    f"annotation {annotation.get('id')} (area {area:g}, mask {pixels} px)",
                    "`area` and mask fall into different size classes; COCO's evaluation goes by `area`",
                )
    counts["images without annotation"] = len(images.keys() - annotated)
    for name in SIZE_CLASSES:
        if not counts[name]:
            findings.warning(name, "size class without instances; its AP will be n/a")
    for category in document["categories"]:
        if str(category.get("id")) not in used:
            findings.warning(str(category.get("name")), "class without instances; its AP will be n/a")


def _pixels(annotation: dict, image: dict, findings: Findings) -> int:
    """Number of pixels of the annotation's mask, 0 where it has none or is broken."""
    name = f"annotation {annotation.get('id')}"
    try:
        rle, dropped = masks.to_rle(annotation["segmentation"], height=image["height"], width=image["width"])
    except masks.MaskError as error:
        findings.error(name, str(error))
        return 0
    if dropped:
        findings.warning(name, "polygon with fewer than 3 points or an odd number of coordinates; skipped")
    pixels = int(masks.areas([rle])[0]) if rle is not None else 0
    if not pixels:
        findings.warning(name, "mask without a pixel; skipped")
    return pixels


def _area(annotation: dict, findings: Findings) -> float | None:
    area, name = annotation.get("area"), f"annotation {annotation.get('id')}"
    for field in ("area", "bbox"):
        if annotation.get(field) is None:
            findings.warning(name, f"has no `{field}`; pycocotools needs one, here it is taken from the mask")
    if area is None:
        return None
    if isinstance(area, bool) or not isinstance(area, int | float) or not math.isfinite(area) or area < 0:
        findings.error(f"{name} (area {area!r})", "`area` must be a number from 0 on")
        return None
    return area


def _check_files(document: dict, folder: Path, findings: Findings) -> None:
    for image in document["images"]:
        name = file_name(image)
        if not isinstance(name, str) or not _has_size(image):
            continue  # reported already
        entry = f"image {image.get('id')} ({name})"
        try:
            with Image.open(folder / name) as opened:  # reads the header only
                size = opened.size
        except FileNotFoundError:
            findings.error(entry, f"file missing below {folder}; point to the folder that `file_name` starts from")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            findings.error(f"{entry}: {error}", "image unreadable; fetch the file again")
        else:
            width, height = image["width"], image["height"]
            if size != (width, height):
                findings.error(
                    f"{entry}: {size_message(size, width=width, height=height)}",
                    "image size; take width and height from the files, or fetch the right files",
                )


def _has_size(image: dict) -> bool:
    return is_side(image.get("width")) and is_side(image.get("height"))
