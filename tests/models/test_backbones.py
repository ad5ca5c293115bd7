"""Backbones: names, norms, frozen stages, weights from a folder."""

from __future__ import annotations

import dataclasses

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from reprolib.models import backbones
from reprolib.models.backbones import WeightsError, build_backbone
from reprolib.models.feature_pyramid import FeaturePyramid, top_down
from reprolib.params import Scale


@pytest.fixture
def plain(thin_scale):
    return dataclasses.replace(thin_scale, backbones={"resnet50": "resnet10t"}, norm="published")


@pytest.mark.parametrize("size", [(64, 96), (70, 91)])
def test_four_maps_halve_in_size_and_the_pyramid_follows_odd_sizes(plain, size) -> None:
    backbone = build_backbone("resnet50", scale=plain, dialect="d2")
    maps = backbone(torch.rand(1, 3, *size))
    assert [m.shape[1] for m in maps] == backbone.channels == [64, 128, 256, 512]
    pyramid = FeaturePyramid(backbone.channels, channels=16)(maps)
    assert [p.shape[-2:] for p in pyramid[:4]] == [m.shape[-2:] for m in maps]
    assert pyramid[4].shape == (1, 16, *((side + 1) // 2 for side in maps[3].shape[-2:]))


def test_top_down_adds_the_coarser_map_to_every_finer_one() -> None:
    laterals = [torch.full((1, 1, side, side), value) for side, value in ((5, 1.0), (3, 10.0), (2, 100.0))]
    merged = top_down(laterals, [nn.Identity()] * 3)
    assert [float(m.unique()) for m in merged] == [111.0, 110.0, 100.0]


def test_a_pyramid_takes_other_laterals() -> None:
    laterals = [nn.Conv2d(4, 8, 1) for _ in range(2)]
    pyramid = FeaturePyramid([4, 4], channels=8, laterals=laterals)
    assert pyramid.laterals[1] is laterals[1]
    with pytest.raises(ValueError, match="1 laterals were given for 2 maps"):
        FeaturePyramid([4, 4], channels=8, laterals=laterals[:1])


@pytest.mark.parametrize(
    ("norm", "dialect", "kind"),
    [
        ("published", "d2", FrozenBatchNorm2d),
        ("published", "torchvision", FrozenBatchNorm2d),
        ("published", "mm", backbones.EvalBatchNorm),
        ("batch", "d2", nn.BatchNorm2d),
        ("group", "mm", nn.GroupNorm),
    ],
)
def test_norms_by_dialect(plain, norm, dialect, kind) -> None:
    body = build_backbone("resnet50", scale=dataclasses.replace(plain, norm=norm), dialect=dialect).body
    norms = {type(m) for m in body.modules() if "Norm" in type(m).__name__}
    assert len(norms) == 1 and issubclass(norms.pop(), kind)


def test_frozen_norm_equals_batch_norm_on_stored_statistics() -> None:
    torch.manual_seed(0)
    reference = nn.BatchNorm2d(5).eval()
    for tensor in (reference.weight, reference.bias, reference.running_mean):
        nn.init.normal_(tensor)
    nn.init.uniform_(reference.running_var, 0.5, 2)
    frozen = backbones.FrozenNorm(5)
    frozen.load_state_dict(reference.state_dict())
    x = torch.rand(2, 5, 7, 3)
    assert torch.allclose(frozen(x), reference(x), atol=1e-6)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_frozen_stages(plain, count) -> None:
    scale = dataclasses.replace(plain, frozen_stages=count)
    body = build_backbone("resnet50", scale=scale, dialect="mm").body
    frozen = {name.split(".")[0] for name, p in body.named_parameters() if not p.requires_grad}
    assert frozen == [set(), {"conv1", "bn1"}, {"conv1", "bn1", "layer1"}, {"conv1", "bn1", "layer1", "layer2"}][count]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"norm": "layer"}, "known are published, batch, group"),
        ({"frozen_stages": 6}, "scale.frozen_stages is 6"),
        (
            {"backbones": {"resnet50": "resnet51x"}},
            "timm has no backbone 'resnet51x'; change `scale.backbones.resnet50`",
        ),
    ],
)
def test_impossible_scales_are_named(plain, change, message) -> None:
    with pytest.raises(ValueError, match=message):
        build_backbone("resnet50", scale=dataclasses.replace(plain, **change), dialect="d2")


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.setenv(backbones.WEIGHTS_FOLDER, str(tmp_path))
    torch.manual_seed(3)
    model = timm.create_model("resnet10t", pretrained=False)  # with its classifier, as files come
    save_file(model.state_dict(), tmp_path / "resnet10t.safetensors")
    return model.eval()


@pytest.mark.parametrize("dialect", ["mm", "d2"])
def test_weights_from_a_folder_mean_the_same_in_every_dialect(plain, weights, dialect) -> None:
    """d2 feeds BGR on the 0..255 scale: its first layer is turned so that the features stay the same."""
    backbone = build_backbone("resnet50", scale=dataclasses.replace(plain, pretrained=True), dialect=dialect)
    rgb = torch.rand(1, 3, 64, 64) - 0.45
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    given = (rgb * 255).flip(1) if dialect == "d2" else rgb / std
    with torch.no_grad():
        expected = weights.forward_features(rgb / std)
        found = backbone(given)[-1]
    assert torch.allclose(found, expected, atol=1e-4 * float(expected.abs().max()))


def test_weights_that_do_not_fit_are_named(plain, weights, tmp_path) -> None:
    scale = dataclasses.replace(plain, pretrained=True)
    path = tmp_path / "resnet10t.safetensors"
    state = weights.state_dict()
    state["surprise"] = state.pop("layer1.0.conv1.weight")
    save_file(state, path)
    with pytest.raises(WeightsError, match=r"resnet10t.safetensors does not fit: 1 weights missing .layer1.0.conv1"):
        build_backbone("resnet50", scale=scale, dialect="mm")
    path.write_bytes(b"not weights")
    with pytest.raises(WeightsError, match="not a readable safetensors file"):
        build_backbone("resnet50", scale=scale, dialect="mm")


@pytest.mark.parametrize(
    ("name", "params", "channels"),
    [
        ("hrnet_w18", 9_562_260, [18, 36, 72, 144]),
        ("hrnet_w32", 29_305_536, [32, 64, 128, 256]),
        ("hrnet_w40", 45_521_216, [40, 80, 160, 320]),
    ],
)
def test_hrnets_give_their_four_branches_and_train_whole(name, params, channels) -> None:
    """timm's default for feature maps passes them through parts of the classification head."""
    with torch.device("meta"):
        backbone = build_backbone(name, scale=Scale(), dialect="mm")
        maps = backbone(torch.empty(1, 3, 64, 96))
    assert backbone.channels == channels
    assert [tuple(m.shape[1:]) for m in maps] == [(c, 16 >> i, 24 >> i) for i, c in enumerate(channels)]
    assert sum(p.numel() for p in backbone.parameters()) == params
    assert sum(p.numel() for p in backbone.parameters() if p.requires_grad) == params
    norms = [m for m in backbone.train().modules() if isinstance(m, nn.BatchNorm2d)]
    assert norms and not any(m.training for m in norms)


def test_what_stands_in_for_an_hrnet_trains_whole_too(plain) -> None:
    scale = dataclasses.replace(plain, backbones={"hrnet_w18": "resnet10t"}, frozen_stages=2)
    assert all(p.requires_grad for p in build_backbone("hrnet_w18", scale=scale, dialect="mm").parameters())


def test_an_hrnet_in_place_of_a_resnet_has_no_stages_to_freeze(plain) -> None:
    scale = dataclasses.replace(plain, backbones={"resnet50": "hrnet_w18_small"}, frozen_stages=2)
    with pytest.raises(ValueError, match=r"hrnet_w18_small has no stages layer1..layer4 to freeze; set `frozen_stages"):
        build_backbone("resnet50", scale=scale, dialect="mm")


def test_hrnet_weights_come_with_a_classification_head(plain, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(backbones.WEIGHTS_FOLDER, str(tmp_path))
    torch.manual_seed(3)
    full = timm.create_model("hrnet_w18_small", pretrained=False).eval()
    save_file(full.state_dict(), tmp_path / "hrnet_w18_small.safetensors")
    scale = dataclasses.replace(plain, pretrained=True, backbones={"hrnet_w18": "hrnet_w18_small"})
    backbone = build_backbone("hrnet_w18", scale=scale, dialect="mm")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        stem = full.act2(full.bn2(full.conv2(full.act1(full.bn1(full.conv1(image))))))
        for found, expected in zip(backbone(image), full.stages(stem), strict=True):
            assert torch.allclose(found, expected, atol=1e-5 * float(expected.abs().max()))


def test_published_hrnets_start_from_their_authors_weights(plain, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(backbones.WEIGHTS_FOLDER, str(tmp_path))
    (tmp_path / "hrnet_w18.ms_in1k.safetensors").write_bytes(b"not weights")
    with pytest.raises(WeightsError, match=r"hrnet_w18.ms_in1k.safetensors is not a readable safetensors file"):
        build_backbone("hrnet_w18", scale=dataclasses.replace(plain, pretrained=True, backbones={}), dialect="mm")


def test_without_a_file_or_a_network_the_error_names_both_mends(plain, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv(backbones.WEIGHTS_FOLDER, str(tmp_path))
    real = timm.create_model

    def offline(name, *, pretrained, **options):
        if pretrained:
            raise OSError("no route to host")
        return real(name, pretrained=False, **options)

    monkeypatch.setattr(backbones.timm, "create_model", offline)
    with pytest.raises(WeightsError, match=r"resnet50.tv_in1k.safetensors into a folder.*pretrained: false"):
        scale = dataclasses.replace(plain, pretrained=True, backbones={})
        build_backbone("resnet50", scale=scale, dialect="d2")


def test_stride_moves_to_the_1x1(plain) -> None:
    scale = dataclasses.replace(plain, backbones={"resnet50": "resnet26"})
    body = build_backbone("resnet50", scale=scale, dialect="d2", stride_in_1x1=True).body
    assert body.layer2[0].conv1.stride == (2, 2) and body.layer2[0].conv2.stride == (1, 1)
    assert body(torch.rand(1, 3, 64, 64))[1].shape[-2:] == (8, 8)
