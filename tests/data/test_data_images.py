"""Image files of every mode become uint8 RGB of the stored pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from reprolib.data.errors import DataError
from reprolib.data.images import read_image

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3


def read(path):
    return read_image(path, height=4, width=6).permute(1, 2, 0).numpy()


def test_alpha_is_dropped_not_blended(tmp_path):
    alpha = np.concatenate([RGB, np.zeros((4, 6, 1), np.uint8)], axis=2)
    Image.fromarray(alpha).save(tmp_path / "x.png")
    assert np.array_equal(read(tmp_path / "x.png"), RGB)


@pytest.mark.parametrize("mode", ["L", "LA", "1", "P"])
def test_gray_and_palette(tmp_path, mode):
    image = Image.fromarray(RGB).convert("L").convert(mode)
    image.save(tmp_path / "x.png")
    assert np.array_equal(read(tmp_path / "x.png"), np.asarray(image.convert("RGB")))


def test_sixteen_bits_use_the_whole_range(tmp_path):
    deep = np.linspace(1000, 3000, 24).reshape(4, 6).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "x.png")
    found = read(tmp_path / "x.png")
    assert found.min() == 0 and found.max() == 255
    order = deep.ravel().argsort()
    assert (np.diff(found[..., 0].ravel()[order].astype(int)) >= 0).all()
    assert (found == found[..., :1]).all()


def test_eight_bits_stored_in_sixteen_keep_their_values(tmp_path):
    values = RGB[..., 0].astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "x.png")
    assert np.array_equal(read(tmp_path / "x.png")[..., 0], values)


def test_constant_sixteen_bits(tmp_path):
    Image.fromarray(np.full((4, 6), 40_000, np.uint16)).save(tmp_path / "x.png")
    assert (read(tmp_path / "x.png") == 0).all()


def test_exif_rotation_is_ignored(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(RGB).save(tmp_path / "x.jpg", exif=exif, quality=100)
    assert read_image(tmp_path / "x.jpg", height=4, width=6).shape == (3, 4, 6)


def test_result_is_contiguous_uint8(tmp_path):
    Image.fromarray(RGB).save(tmp_path / "x.png")
    image = read_image(tmp_path / "x.png", height=4, width=6)
    assert image.dtype == torch.uint8 and image.is_contiguous()


def test_errors_name_the_file(tmp_path):
    with pytest.raises(DataError, match=r"x\.png: image file missing"):
        read_image(tmp_path / "x.png", height=4, width=6)
    Image.fromarray(RGB).save(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png: the file is 6 x 4, the annotations say 4 x 6"):
        read_image(tmp_path / "x.png", height=6, width=4)
    noise = np.random.default_rng(0).integers(0, 256, RGB.shape, np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:60])
    with pytest.raises(DataError, match=r"cut\.png: unreadable"):
        read_image(tmp_path / "cut.png", height=4, width=6)
    (tmp_path / "text.png").write_text("<html>")
    with pytest.raises(DataError, match=r"text\.png: unreadable"):
        read_image(tmp_path / "text.png", height=4, width=6)
