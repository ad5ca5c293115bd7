"""Mask information flow: which heads run on what, and where gradients go."""

import pytest
import torch
from torch import nn

from reprolib.evaluation.cost import count_parameters, on_meta
from reprolib.models.two_stage.mask_flow import MaskFlow, MaskInformationFlow
from reprolib.models.two_stage.mask_head import MaskHead

CHANNELS = 8


def flow(*, outputs=2):
    torch.manual_seed(0)
    heads = [MaskHead(CHANNELS, outputs=outputs) for _ in range(3)]
    return MaskFlow(heads, [MaskInformationFlow(CHANNELS) for _ in range(2)])


def rois(count=3):
    return torch.randn(count, CHANNELS, 6, 6, generator=torch.Generator().manual_seed(1))


def test_parameters_of_the_published_flow():
    assert count_parameters(on_meta(lambda: MaskInformationFlow(256)))["params"] == 65_792
    heads = 3 * (2_622_720 + 80 * 257)
    published = on_meta(
        lambda: MaskFlow([MaskHead(256, outputs=80) for _ in range(3)], [MaskInformationFlow(256) for _ in range(2)])
    )
    assert count_parameters(published)["params"] == heads + 2 * 65_792


def test_a_site_adds_the_rectified_projection():
    site = MaskInformationFlow(2)
    with torch.no_grad():
        site.project.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])[:, :, None, None])
        site.project.bias.copy_(torch.tensor([0.5, 0.0]))
    previous = torch.tensor([2.0, 9.0])[None, :, None, None]
    roi = torch.tensor([10.0, 20.0])[None, :, None, None]
    assert site(previous, roi).flatten().tolist() == [12.5, 20.0]  # 10 + (2 + 0.5), 20 + relu(-2)
    assert site.out_channels == 2


def test_every_stage_equals_the_heads_written_out():
    model, roi = flow(), rois()
    first, second, third = model.heads
    one = first.features(roi)
    two = second.features(model.sites[0](one, roi))
    three = third.features(model.sites[1](two, roi))
    expected = [first.predict(one), second.predict(two), third.predict(three)]
    assert expected[0].shape == (3, 2, 12, 12)
    for stage, (features, logits) in enumerate(zip((one, two, three), expected, strict=True)):
        torch.testing.assert_close(model.features(roi, stage), features)
        torch.testing.assert_close(model(roi, stage), logits)
        torch.testing.assert_close(model.all_logits(roi)[stage], logits)


def test_all_logits_runs_each_head_once():
    model, calls = flow(), []
    for index, head in enumerate(model.heads):
        head.convs[0].register_forward_hook(lambda *_, index=index: calls.append(index))
    model.all_logits(rois())
    assert calls == [0, 1, 2]
    calls.clear()
    model(rois(), 1)
    assert calls == [0, 1]


def test_gradients_flow_through_the_earlier_heads_but_not_their_predictors():
    model = flow()
    model(rois(), 2).square().sum().backward()
    reached = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    everything = {name for name, _ in model.named_parameters()}
    unreached = {n for n in everything if n.startswith(("heads.0.", "heads.1.")) and ("upsample" in n or "predic" in n)}
    assert len(unreached) == 8
    assert everything - reached == unreached


class Doubling(nn.Module):
    """A site with a wider output, as MAI-SE-Net's."""

    out_channels = 2 * CHANNELS

    def forward(self, previous, roi):
        return torch.cat([previous, roi], dim=1)


def test_a_site_may_widen_and_may_be_shared():
    site = Doubling()
    heads = [MaskHead(CHANNELS, outputs=1, in_channels=width) for width in (CHANNELS, 16, 16)]
    logits = MaskFlow(heads, [site, site]).all_logits(rois())
    assert [one.shape for one in logits] == [(3, 1, 12, 12)] * 3
    shared = MaskInformationFlow(CHANNELS)
    model = MaskFlow([MaskHead(CHANNELS, outputs=1) for _ in range(3)], [shared, shared])
    apart = count_parameters(flow(outputs=1))["params"]
    assert count_parameters(model)["params"] == apart - count_parameters(shared)["params"]


def test_no_rois():
    model = flow()
    logits = model(rois(0), 2)
    assert logits.shape == (0, 2, 12, 12)
    (logits.sum() * 0).backward()
    assert all(p.grad is not None for p in model.sites.parameters())


def test_a_missing_site_is_refused():
    heads = [MaskHead(CHANNELS, outputs=1) for _ in range(3)]
    with pytest.raises(ValueError, match="3 mask heads need 2 sites between them, not 1"):
        MaskFlow(heads, [MaskInformationFlow(CHANNELS)])
