"""An image file and boxes in, masks out: encoded once, prompted, drawn and written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from reprolib.data.errors import DataError
from reprolib.data.images import read_image
from reprolib.engine.devices import to_device
from reprolib.figures.pictures import Picture
from reprolib.files import write_atomic, write_json
from reprolib.models.two_stage.prompts import check_boxes
from reprolib.prompting.document import coco_document
from reprolib.prompting.overlay import overlay
from reprolib.prompting.promptable import Promptable, load_promptable
from reprolib.prompting.request import parse_boxes, parse_labels


class PromptedImage:
    """An image that a detector has encoded: every prompt reuses the encoding.

    pixels: uint8 [3,H,W] on the CPU.
    """

    def __init__(self, promptable: Promptable, pixels: Tensor, *, name: str) -> None:
        self.promptable, self.pixels, self.name = promptable, pixels, name
        with torch.inference_mode():
            (image,), _ = to_device([pixels], [], device=promptable.device)
            self.encoded = promptable.model.encode(image)

    def segment(self, boxes: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        """boxes [N,4] xyxy px, labels [N] from 1 or None (the model finds them) -> the same, scores [N], masks bool
        [N,H,W], on the CPU. Raises ValueError naming the image and the box.
        """
        check(boxes, self.pixels, name=self.name)
        device = self.promptable.device
        with torch.inference_mode():
            segments = self.promptable.model.segment(
                self.encoded, boxes.to(device), None if labels is None else labels.to(device)
            )
        return {key: value.cpu() for key, value in segments.items()}

    def draw(self, segments: Mapping[str, Tensor]) -> Picture:
        """The masks over the image; see `reprolib.prompting.overlay`."""
        return overlay(self.pixels, segments, self.promptable.names)


@dataclass(frozen=True, kw_only=True)
class Segmented:
    """The masks of `segment_file`, and the files that it wrote."""

    segments: Mapping[str, Tensor]
    names: tuple[str, ...]
    picture: Path
    document: Path

    def text(self) -> str:
        """A line per box: class, score and mask's pixels; then the files."""
        areas = self.segments["masks"].flatten(1).sum(1).tolist()
        rows = zip(self.segments["boxes"].tolist(), self.names, self.segments["scores"].tolist(), areas, strict=True)
        lines = [
            f"box {number}  {','.join(f'{value:g}' for value in box)}  {name}  {score:.2f}  {area:,} px"
            for number, (box, name, score, area) in enumerate(rows)
        ]
        return "\n".join([*lines, str(self.picture), str(self.document)])


def check(boxes: Tensor, pixels: Tensor, *, name: str) -> None:
    """Raise the ValueError of the model, for boxes that it would refuse, with the image's name."""
    try:
        check_boxes(boxes, tuple(pixels.shape[-2:]), device=torch.device("cpu"))
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def open_image(path: str | Path) -> Tensor:
    """Any image file as uint8 [3,H,W], see `read_image`; raises DataError naming the file."""
    if Path(path).is_dir():
        raise DataError(f"{path} is a folder; name an image")
    return read_image(Path(path))


def segment_file(
    image: str | Path,
    *,
    boxes: Sequence[str],
    labels: Sequence[str] = (),
    weights: str = "",
    experiment: str = "",
    profile: str | None = None,
    seed: int = 0,
    device: str | None = None,
    out: str | Path = "segments",
) -> Segmented:
    """Segment what boxes hold; writes `<out>/<image's stem>-segments.png` and `.json`, each whole or not at all.

    boxes, labels: as text, see `reprolib.prompting.request`. weights, experiment, profile, seed: see `load_promptable`.
    Raises ValueError or FileNotFoundError naming the file or the field, and then writes nothing.
    """
    prompts = parse_boxes(boxes, image=image)  # cheap checks come before a model is built
    pixels = open_image(image)
    check(prompts, pixels, name=str(image))
    promptable = load_promptable(weights, experiment=experiment, profile=profile, seed=seed, device=device)
    prompt_labels = parse_labels(labels, names=promptable.names, count=len(prompts))
    prompted = PromptedImage(promptable, pixels, name=str(image))
    segments = prompted.segment(prompts, prompt_labels)
    document = coco_document(
        segments,
        file_name=Path(image).name,
        size=tuple(pixels.shape[-2:]),
        categories=promptable.categories,
        model=f"{promptable.run.id} (profile {promptable.run.profile})",
    )
    picture = prompted.draw(segments).png
    target = Path(out) / f"{Path(image).stem}-segments"
    paths = {suffix: target.with_name(f"{target.name}.{suffix}") for suffix in ("png", "json")}
    try:
        write_atomic(paths["png"], picture)
        write_json(paths["json"], document)
    except OSError as error:
        raise ValueError(f"{out}: cannot be written to ({error.strerror}); name another folder by --out") from None
    return Segmented(
        segments=segments,
        names=tuple(promptable.names[label - 1] for label in segments["labels"].tolist()),
        picture=paths["png"],
        document=paths["json"],
    )
