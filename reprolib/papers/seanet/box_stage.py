"""What the fully convolutional box head learns and what it finds: losses, boxes, one detection per proposal."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from reprolib.models.losses import focal_class_loss
from reprolib.models.two_stage.samples import Samples
from reprolib.papers.seanet.box_head import BoxOutputs, FullyConvolutionalBoxHead
from reprolib.papers.seanet.box_losses import box_loss, iou_loss, iou_targets
from reprolib.papers.seanet.locations import decode, location_targets, locations
from reprolib.papers.seanet.switches import CHOICES, DECIDED, Switches
from reprolib.params import Scale

IOU_WEIGHT = 0.5  # lambda 3; lambda 1 and 2 are 1
# A distance of a million pixels or RoI sides: beyond any box, far below where areas overflow, and there the box
# loss is flat anyway.
LARGEST_EXPONENT = math.log(1e6)


class FullyConvolutionalBoxStage(nn.Module):
    """RoI features [R,C,m,m] -> `BoxOutputs`, their losses and boxes (paper sections 3.1 and 3.3).

    head: RoI features -> `BoxOutputs`. switches: the box head's; no `auto` may be left, else ValueError.
    """

    def __init__(self, *, head: nn.Module, switches: Switches) -> None:
        super().__init__()
        undecided = [name for name, *_ in DECIDED if getattr(switches, name) == "auto"]
        if undecided:
            raise ValueError(
                f"{undecided[0]} 'auto' is undecided here: give {' or '.join(CHOICES[undecided[0]][1:])}, or take the"
                " switches from resolve_switches"
            )
        self.head, self.switches = head, switches

    def forward(self, roi_features: Tensor) -> BoxOutputs:
        return self.head(roi_features)

    def losses(self, outputs: BoxOutputs, samples: Samples, targets: list[dict]) -> dict[str, Tensor]:
        """L_box, Eq. 4: loss_classifier, loss_box_reg and loss_box_iou.

        The first is the focal loss of all locations, divided by the positive locations plus the RoIs; the others are
        means over the positive locations.
        """
        switches, rois = self.switches, torch.cat(samples.boxes)
        points = self.locations(rois, outputs)
        wanted = location_targets(points, samples, targets, any_instance=switches.loc_assign == "any_gt")
        rows, cells = torch.where(wanted.labels > 0)
        distances = self.distances(outputs.exponents[rows, cells], rois[rows])
        found, instances = decode(points[rows, cells], distances), wanted.boxes[rows, cells]
        compared = found.detach() if switches.detach_iou_target else found
        iou = outputs.iou[rows, cells]
        iou = iou.sigmoid() if switches.iou_act == "sigmoid_both" else iou
        return {
            "loss_classifier": focal_class_loss(outputs.logits, wanted.labels, added=len(rois)),
            "loss_box_reg": box_loss(found, instances, clamp=switches.giou_clamp),
            "loss_box_iou": IOU_WEIGHT * iou_loss(iou, iou_targets(compared, instances, kind=switches.iou_target)),
        }

    def inference(self, outputs: BoxOutputs, rois: Tensor) -> tuple[Tensor, Tensor]:
        """One detection per RoI [R,4]: its box [R,4], not clipped, and its final scores [R,K] of all classes."""
        classes, iou = outputs.logits.sigmoid(), self.iou_scores(outputs)
        cells = select(classes, iou, class_first=self.switches.select == "class_first")
        rows = torch.arange(len(cells), device=cells.device)
        points = self.locations(rois, outputs)[rows, cells]
        boxes = decode(points, self.distances(outputs.exponents[rows, cells], rois))
        return boxes, classes[rows, cells] * iou[rows, cells, None]

    def iou_scores(self, outputs: BoxOutputs) -> Tensor:
        """The factors [R,P], not negative, that class scores are multiplied by; ones without `use_iou_score`."""
        if not self.switches.use_iou_score:
            return torch.ones_like(outputs.iou)
        return outputs.iou.clamp(min=0) if self.switches.iou_act == "linear_both" else outputs.iou.sigmoid()

    def locations(self, rois: Tensor, outputs: BoxOutputs) -> Tensor:
        """The points [R,P,2] in the image that the outputs belong to."""
        return locations(rois, size=math.isqrt(outputs.iou.shape[1]), floor=self.switches.floor_points)

    def distances(self, exponents: Tensor, rois: Tensor) -> Tensor:
        """exponents [N,4] and their RoIs [N,4] -> distances [N,4] in batch pixels, all positive."""
        distances = exponents.clamp(max=LARGEST_EXPONENT).exp()
        if self.switches.reg_parametrization == "exp_pixels":
            return distances
        # A RoI without width could otherwise never become a box.
        half = (rois[:, 2:] - rois[:, :2]).clamp(min=1) / 2
        return distances * half.repeat(1, 2)


def select(classes: Tensor, iou: Tensor, *, class_first: bool) -> Tensor:
    """The cell [R] of each RoI's detection, from class scores [R,P,K] and IoU scores [R,P].

    The one of the highest class score times IoU; class_first: for the class of the RoI's highest class score only
    (code), otherwise for whichever class (paper).
    """
    if not class_first:
        return (classes.amax(dim=-1) * iou).argmax(dim=-1)
    best = classes.amax(dim=1).argmax(dim=-1)
    return (classes[torch.arange(len(best), device=best.device), :, best] * iou).argmax(dim=-1)


def fully_convolutional_box_stage(*, num_classes: int, scale: Scale, switches: Switches) -> FullyConvolutionalBoxStage:
    """The stage for RoI features [R,scale.channels,7,7]; classes have no background channel."""
    head = FullyConvolutionalBoxHead(
        scale.channels,
        num_classes=num_classes,
        tower_init=switches.tower_init,
        keep_dead_params=switches.count_dead_roi_convs,
    )
    return FullyConvolutionalBoxStage(head=head, switches=switches)
