"""A tiny detector, a tiny data set, and a run of them that gets killed: `python toy_run.py FOLDER KILL...`.

The detector learns one box, and has what makes a resume hard: batch norm statistics, momentum, random numbers.
The script starts the run in FOLDER once per KILL, each time in a process of its own, and then once to its end. KILL is
the number of the batch, or `save` and the number of the checkpoint, at which the process gets SIGKILL.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

from reprolib.engine import checkpoint
from reprolib.engine.seeds import seed_everything
from reprolib.engine.train import train
from reprolib.params import Schedule

SCHEDULE = Schedule(
    optimizer="adamw", lr=0.01, batch_size=4, iterations=12, policy="one_cycle", checkpoint_every=3, log_every=2,
    warmup_iterations=2, clip_norm=1.0, workers=0,
)  # fmt: skip


class ToyDetector(nn.Module):
    def __init__(self, *, noise: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.BatchNorm2d(4), nn.ReLU())
        self.box, self.label = nn.Linear(4, 4), nn.Linear(4, 2)
        self.noise = noise

    def forward(self, images: list[torch.Tensor], targets: list[dict] | None = None):
        features = self.stem(torch.stack(images)).mean((2, 3))
        if self.noise and self.training:
            features = features + 0.1 * torch.rand_like(features)
        boxes, logits = self.box(features), self.label(features)
        if targets is not None:
            truth = torch.stack([target["boxes"][0] for target in targets]) / 16
            labels = torch.stack([target["labels"][0] for target in targets])
            return {
                "loss_box": nn.functional.l1_loss(boxes, truth),
                "loss_label": nn.functional.cross_entropy(logits, labels - 1),
            }
        height, width = images[0].shape[-2:]
        mask = torch.zeros(1, height, width, dtype=torch.bool, device=boxes.device)
        mask[:, 2:6, 3:8] = True
        box = torch.tensor([[3.0, 2.0, 8.0, 6.0]], device=boxes.device)
        label = torch.tensor([2], device=boxes.device)
        return [
            {"boxes": box, "labels": label, "scores": row.sigmoid()[:1], "masks": mask, "mask_scores": row[:1]}
            for row in boxes
        ]


class ToyData(Dataset):
    """Ten 16 px images; ids are 100, 101, ..., categories 7 and 9. `spoilt`: image ids whose box is NaN."""

    category_ids, class_names = (7, 9), ("a", "b")

    def __init__(self, *, images: int = 10, spoilt: tuple[int, ...] = ()) -> None:
        self.image_ids, self.spoilt = [100 + index for index in range(images)], spoilt

    def __len__(self) -> int:
        return len(self.image_ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, dict]:
        generator = torch.Generator().manual_seed(index)
        image_id = self.image_ids[index]
        side = float("nan") if image_id in self.spoilt else 4.0 + index
        mask = torch.zeros(1, 16, 16, dtype=torch.uint8)
        mask[:, 1:5, 1:5] = 1
        return torch.randint(256, (3, 16, 16), dtype=torch.uint8, generator=generator), {
            "boxes": torch.tensor([[1.0, 1.0, side, 5.0]]),
            "labels": torch.tensor([1 + index % 2]),
            "masks": mask,
            "image_id": image_id,
        }


def toy_model(*, seed: int = 3, noise: bool = True) -> ToyDetector:
    seed_everything(seed)
    return ToyDetector(noise=noise)


def kill_while_writing(nth: int) -> None:
    """SIGKILL this process when half of the nth checkpoint is on disk."""
    save, count = torch.save, 0

    def half(state: dict, path: Path) -> None:
        nonlocal count
        count += 1
        save(state, path)
        if count == nth:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.torch.save = half


def kill_at_batch(nth: int) -> None:
    """SIGKILL this process in the forward pass of its nth batch."""
    forward, count = ToyDetector.forward, 0

    def counted(self, *arguments):
        nonlocal count
        count += 1
        if count == nth:
            os.kill(os.getpid(), signal.SIGKILL)
        return forward(self, *arguments)

    ToyDetector.forward = counted


def run(folder: Path, kill: str) -> None:
    torch.set_num_threads(1)
    if kill.startswith("save"):
        kill_while_writing(int(kill.removeprefix("save")))
    elif kill:
        kill_at_batch(int(kill))
    model = toy_model()
    train(model, ToyData(), SCHEDULE, seed=5, device="cpu", work=folder / "work", log=folder / "log.jsonl")
    torch.save(model.state_dict(), folder / "final.pt")


def main(folder: Path, *kills: str) -> None:
    for kill in (*kills, ""):
        child = os.fork()  # a fresh interpreter would spend seconds importing torch; nothing has computed here yet
        if not child:
            run(folder, kill)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.waitstatus_to_exitcode(status) != (-signal.SIGKILL if kill else 0):
            sys.exit(f"the run with kill {kill!r} ended with status {status}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
