"""Any COCO-format data set as a torch data set with tv_tensors."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch.utils.data import Dataset, get_worker_info
from torchvision import tv_tensors

from reprolib.data import masks
from reprolib.data.document import check_document, file_name, read_document
from reprolib.data.errors import DataError
from reprolib.data.findings import Findings
from reprolib.data.images import read_image, read_labels
from reprolib.data.transforms import training_transform

CACHE_BYTES = 512 * 2**20  # decoded images of sets up to this size stay in memory: decoding takes longer than training


class CocoInstances(Dataset):
    """Images and instances of one split.

    Item: (image uint8 tv_tensors.Image [3, H, W], target) with target boxes float32 [N, 4] (xyxy px), labels
    int64 [N] (1..K), masks uint8 [N, H, W], area float32 [N], iscrowd int64 [N], image_id int, and `semantic` uint8
    [H, W] where there are semantic maps.

    Boxes and `area` are those of the mask (its outermost pixel edges, its number of pixels): the JSON's
    follow a different convention in every source. COCO's evaluation reads the JSON's own.

    train=True leaves out crowds, `ignore`d and unusable instances (see `reprolib.data.lint`), and then images
    without any instance; flip=True mirrors half of the items at random. train=False keeps all images in the
    order of the JSON, and crowds. What was left out is counted in `skipped` and printed.

    semantic: folder of the images' class maps, PNGs of the images' stems (COCO's stuffthingmaps), 255 = unlabelled.

    Raises DataError at once for a malformed or inconsistent JSON and for missing image files, and on access
    for an image or a map that is unreadable or of another size than the JSON says.

    class_names, category_ids: by label, `category_ids[label - 1]`, in ascending order of the ids. image_ids,
    sizes, image_labels: by item; size is (height, width), image_labels the set of labels in the image.
    """

    def __init__(
        self, images: Path, annotations: Path, *, train: bool, flip: bool = False, semantic: Path | None = None
    ) -> None:
        self.images, self.annotations, self.train = Path(images), Path(annotations), train
        self.semantic = None if semantic is None else Path(semantic)
        document = read_document(annotations)
        findings = Findings()
        check_document(document, findings)
        findings.raise_errors(self.annotations)

        categories = sorted(document["categories"], key=lambda category: category["id"])
        self.class_names: list[str] = [category["name"] for category in categories]
        self.category_ids: list[int] = [category["id"] for category in categories]
        self.skipped: Counter[str] = Counter()
        self._instances: list[_Instances] = []
        self._files: list[str] = []
        self.image_ids: list[int] = []
        self.sizes: list[tuple[int, int]] = []
        self._collect(document)
        self._check_files()
        self._transform = training_transform(flip=flip) if train else None
        if flip and not train:
            raise ValueError("flip=True is for train=True: evaluation reads images as they are")
        self._cache: dict[int, torch.Tensor] | None = None
        if sum(3 * height * width for height, width in self.sizes) <= CACHE_BYTES:
            self._cache = {}
        if self.skipped:
            listed = ", ".join(f"{count} {reason}" for reason, count in self.skipped.items())
            print(
                f"{self.annotations}: left out in {'training' if train else 'evaluation'}: {listed}",
                flush=True,
            )

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> tuple[tv_tensors.Image, dict]:
        height, width = self.sizes[index]
        instances = self._instances[index]
        target = {
            "boxes": tv_tensors.BoundingBoxes(masks.boxes(instances.rles), format="XYXY", canvas_size=(height, width)),
            "labels": torch.tensor(instances.labels, dtype=torch.int64),
            "masks": tv_tensors.Mask(masks.decode(instances.rles, height=height, width=width)),
            "area": masks.areas(instances.rles),
            "iscrowd": torch.tensor(instances.crowds, dtype=torch.int64),
            "image_id": self.image_ids[index],
        }
        if self.semantic is not None:
            path = (self.semantic / self._files[index]).with_suffix(".png")
            target["semantic"] = tv_tensors.Mask(read_labels(path, height=height, width=width))
        image = tv_tensors.Image(self._image(index))
        return (image, target) if self._transform is None else self._transform(image, target)

    @property
    def image_labels(self) -> list[set[int]]:
        return [set(instances.labels) for instances in self._instances]

    def image_path(self, index: int) -> Path:
        return self.images / self._files[index]

    def _collect(self, document: dict) -> None:
        labels = {number: label for label, number in enumerate(self.category_ids, start=1)}
        by_image: dict[int, list[dict]] = {image["id"]: [] for image in document["images"]}
        for annotation in document["annotations"]:
            by_image[annotation["image_id"]].append(annotation)
        for image in document["images"]:
            instances = _Instances()
            for annotation in by_image[image["id"]]:
                rle = self._usable(annotation, image)
                if rle is not None:
                    instances.rles.append(rle)
                    instances.labels.append(labels[annotation["category_id"]])
                    instances.crowds.append(annotation.get("iscrowd") or 0)
            if self.train and not instances.rles:
                self.skipped["images without usable instance"] += 1
                continue
            self._instances.append(instances)
            self._files.append(file_name(image))
            self.image_ids.append(image["id"])
            self.sizes.append((image["height"], image["width"]))
        if not self.image_ids:
            raise DataError(f"{self.annotations}: no image with a usable instance; nothing to train on")

    def _usable(self, annotation: dict, image: dict) -> masks.Rle | None:
        """The annotation's mask, or None (counted) where it is left out."""
        box = annotation.get("bbox")
        for reason, applies in (
            ("crowds", annotation.get("iscrowd")),
            ("instances marked `ignore`", annotation.get("ignore")),
            ("boxes under 1 px", box is not None and min(box[2:]) < 1),
        ):
            if self.train and applies:
                self.skipped[reason] += 1
                return None
        try:
            rle, dropped = masks.to_rle(annotation["segmentation"], height=image["height"], width=image["width"])
        except masks.MaskError as error:
            raise DataError(f"{self.annotations}: annotation {annotation['id']}: {error}") from None
        if dropped:
            self.skipped["degenerate polygons"] += dropped
        if rle is None or masks.areas([rle])[0] == 0:
            self.skipped["instances without a mask pixel"] += 1
            return None
        return rle

    def _check_files(self) -> None:
        missing = [name for name in self._files if not (self.images / name).is_file()]
        if missing:
            raise DataError(
                f"{self.images}: {len(missing)} of {len(self._files)} images named in {self.annotations} are missing,"
                f" the first is {missing[0]}; point to the folder that `file_name` starts from, or fetch them"
            )

    def _image(self, index: int) -> torch.Tensor:
        if self._cache is not None and index in self._cache:
            return self._cache[index].clone()  # the caller may write into it
        height, width = self.sizes[index]
        try:
            image = read_image(self.image_path(index), height=height, width=width)
        except DataError as error:
            raise DataError(f"{error} [image {self.image_ids[index]} of {self.annotations}]") from None
        if self._cache is not None and get_worker_info() is None:
            self._cache[index] = image.clone()
        return image


@dataclass(slots=True)
class _Instances:
    """One image's instances: masks as compressed RLE, labels, crowd flags."""

    rles: list[masks.Rle] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    crowds: list[int] = field(default_factory=list)
