"""Image files as RGB tensors, whatever their mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image

from reprolib.data.errors import DataError

DEEP_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N", "F")
STRETCH = (0.1, 99.9)  # percent of the pixels below black and below white


@contextmanager
def opened_image(
    file: Path | BinaryIO, *, where: str, missing: str, mend: str, what: str = "image"
) -> Iterator[Image.Image]:
    """An image file, opened with Pillow, to be read within. Raises DataError, beginning with `where`, for one that is
    missing or cannot be read."""
    try:
        with Image.open(file) as image:
            yield image
    except FileNotFoundError:
        raise DataError(f"{where}: {missing}") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: unreadable {what} ({error}); {mend}") from None


def read_image(path: Path, *, height: int = 0, width: int = 0) -> torch.Tensor:
    """An image file as uint8 [3, H, W], of the size that annotations state (0: any).

    Alpha is dropped, gray repeated, palettes looked up. Gray images deeper than 8 bits keep their values
    where these fit into 8 bits and are otherwise stretched between their 0.1 and 99.9 percentiles, since
    16-bit files often use few of their bits. EXIF rotation is ignored, as annotations refer to the stored
    pixels. Raises DataError when the file is missing, unreadable, or of another size.
    """
    missing = "image file missing; check the image folder"
    with opened_image(path, where=str(path), missing=missing, mend="fetch the file again") as image:
        if image.size != (width or image.width, height or image.height):
            raise DataError(f"{path}: {size_message(image.size, width=width, height=height)}")
        if image.mode in DEEP_MODES:
            pixels = np.repeat(_to_bytes(np.asarray(image, np.float64))[..., None], 3, axis=2)
        elif image.mode in ("RGBA", "LA"):  # `convert` alone may blend: the colours under alpha are the measured ones
            pixels = np.asarray(image.convert("RGBA"))[..., :3]
        else:
            pixels = np.asarray(image.convert("RGB"))
    return torch.from_numpy(np.ascontiguousarray(pixels.transpose(2, 0, 1)))


def read_labels(path: Path, *, height: int, width: int) -> torch.Tensor:
    """A map of class numbers, an 8-bit PNG of one channel (palettes are not looked up), as uint8 [H, W].

    Raises DataError as `read_image` does, and for files of more channels or bits.
    """
    words = {"missing": "class map missing; check the folder of the maps", "mend": "fetch the file again"}
    with opened_image(path, where=str(path), what="class map", **words) as image:
        if image.size != (width, height):
            raise DataError(f"{path}: {size_message(image.size, width=width, height=height)}")
        if image.mode not in ("L", "P"):
            raise DataError(f"{path}: a class map has one 8-bit channel, this is of mode {image.mode}")
        return torch.from_numpy(np.array(image))


def size_message(actual: tuple[int, int], *, width: int, height: int) -> str:
    return f"the file is {actual[0]} x {actual[1]}, the annotations say {width} x {height} (width x height)"


def _to_bytes(values: np.ndarray) -> np.ndarray:
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if values.min() < 0 or values.max() > 255:
        low, high = np.percentile(values, STRETCH)
        values = (values - low) * (255 / (high - low)) if high > low else np.zeros_like(values)
    return np.rint(np.clip(values, 0, 255)).astype(np.uint8)
