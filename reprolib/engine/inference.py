"""Detections on a data set as COCO results, and their speed."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from reprolib.engine import processes
from reprolib.engine.devices import hardware_name, synchronise, to_device
from reprolib.engine.progress import SECONDS_BETWEEN_LINES
from reprolib.evaluation.rle import encode_masks

INCLUDES = (
    "copy to the device, resize, network, post-processing, masks pasted at image size;"
    " not image decoding, not RLE encoding; first batch excluded"
)
GPU_WORKERS = 4  # processes that read images ahead; on a CPU they would slow down what is timed


def predict(
    model: nn.Module, dataset: Dataset, *, device: str, batch_size: int = 1
) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Run a detector over a data set in its order; several processes take its batches in turns.

    Args:
        model: keeps the detector contract; it is put into evaluation mode for the call.
        dataset: items (image uint8 [3,H,W], target), with `image_ids` by item and `category_ids` by label - 1.
        batch_size: images per forward pass. Padding lets it change results: 1 is what numbers are compared at.

    Returns:
        results: COCO results, unrounded: image_id, category_id (the data set's own), bbox [x, y, w, h] in px, score,
            segmentation (RLE) and, from models that rank masks apart, mask_score. All of them in the first process,
            none in the others.
        speed: images_per_second, seconds, images (those timed), batch_size, device, hardware, includes (what was
            timed). A process' first batch, which includes warming up, is timed only where there is no other;
            of several processes images and seconds are sums, so that the rate is that of a single process.

    Raises ValueError for an output that breaks the contract, naming the image.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, not {batch_size}")
    workers = GPU_WORKERS if torch.device(device).type == "cuda" else 0
    total, rank, count = len(dataset), processes.rank(), processes.count()
    mine = [
        list(range(start, min(start + batch_size, total)))
        for start in range(rank * batch_size, total, count * batch_size)
    ]
    images_only = DataLoader(
        _Images(dataset), batch_sampler=mine, collate_fn=list, num_workers=workers, pin_memory=workers > 0
    )
    results: list[list[dict[str, object]]] = []  # by batch
    times: list[tuple[int, float]] = []  # by batch: images, seconds
    done = 0
    began = printed = time.perf_counter()
    was_training = model.training
    model.to(device).eval()
    try:
        with torch.inference_mode():
            for number, batch in enumerate(images_only):
                synchronise(device)
                clock = time.perf_counter()
                outputs = model(to_device([image for _, image in batch], [], device=device)[0])
                synchronise(device)
                times.append((len(batch), time.perf_counter() - clock))
                if len(outputs) != len(batch):
                    raise ValueError(f"the model gave {len(outputs)} results for {len(batch)} images")
                results.append([])
                for (index, image), output in zip(batch, outputs, strict=True):
                    results[-1] += coco_results(
                        output,
                        image_id=dataset.image_ids[index],
                        category_ids=dataset.category_ids,
                        size=tuple(image.shape[-2:]),
                    )
                done = min(total, done + len(batch) * count)
                now = time.perf_counter()
                if now - printed >= SECONDS_BETWEEN_LINES or number + 1 == len(mine):
                    rate = done / (now - began)
                    left = math.ceil((total - done) / rate)
                    detections = sum(map(len, results)) * count
                    about = "about " if count > 1 else ""
                    print(
                        f"image {about}{done}/{total}  {rate:.1f} img/s  {about}{detections} detections  ETA {left} s",
                        flush=True,
                    )
                    printed = now
    finally:
        model.train(was_training)
    all_times = processes.gather(times)
    timed = [batch for of_process in all_times for batch in of_process[1:]]
    includes = INCLUDES if count == 1 else f"{INCLUDES}; mean of {count} processes"
    if not timed:
        timed = [batch for of_process in all_times for batch in of_process]
        includes = includes.replace("excluded", "included: there is no other")
    images_timed, seconds = sum(images for images, _ in timed), sum(seconds for _, seconds in timed)
    return _in_order(processes.gather_in_first(results)), {
        "images_per_second": images_timed / seconds if seconds else 0.0,
        "seconds": seconds,
        "images": images_timed,
        "batch_size": batch_size,
        "device": device,
        "hardware": hardware_name(device),
        "includes": includes,
    }


def _in_order(shares: list[list[list[dict[str, object]]]]) -> list[dict[str, object]]:
    """Results of batches that processes took in turns, by process -> one list in the order of the images."""
    batches = itertools.chain.from_iterable(itertools.zip_longest(*shares, fillvalue=[]))
    return list(itertools.chain.from_iterable(batches))


def coco_results(
    output: dict[str, Tensor], *, image_id: int, category_ids: Sequence[int], size: tuple[int, int]
) -> list[dict[str, object]]:
    """One image's detections as COCO results.

    output: boxes [N,4] xyxy px, labels [N] in 1..K, scores [N], masks Bool [N,H,W] or, as torchvision gives them,
    probabilities [N,1,H,W] (cut at 0.5), maybe mask_scores [N]. size: (H, W) of the image. Raises ValueError.
    """
    missing = sorted({"boxes", "labels", "scores", "masks"} - output.keys())
    if missing:
        raise ValueError(f"image {image_id}: the model's result lacks {missing[0]!r}; see the detector contract")
    masks = output["masks"]
    if masks.ndim == 4 and masks.shape[1] == 1:
        masks = masks[:, 0]
    if masks.is_floating_point():
        masks = masks > 0.5
    boxes, scores = output["boxes"].double(), output["scores"].double()
    if tuple(masks.shape) != (len(boxes), *size):
        raise ValueError(
            f"image {image_id}: masks are {list(masks.shape)}, expected {[len(boxes), *size]} for {len(boxes)} boxes"
        )
    if not (boxes.isfinite().all() and scores.isfinite().all()):
        raise ValueError(f"image {image_id}: the model gave non-finite boxes or scores; its weights may be damaged")
    labels = output["labels"].tolist()
    if labels and not 1 <= min(labels) <= max(labels) <= len(category_ids):
        raise ValueError(f"image {image_id}: labels {min(labels)} to {max(labels)}, expected 1 to {len(category_ids)}")
    columns = {
        "bbox": torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1).tolist(),
        "score": scores.tolist(),
        "segmentation": encode_masks(masks),
    }
    if "mask_scores" in output:
        columns["mask_score"] = output["mask_scores"].double().tolist()
    return [
        {"image_id": image_id, "category_id": category_ids[label - 1]}
        | {key: column[row] for key, column in columns.items()}
        for row, label in enumerate(labels)
    ]


class _Images(Dataset):
    """Items (index, image) without targets: sending their masks between processes would cost more than the image."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        return index, self.dataset[index][0].as_subclass(Tensor)
