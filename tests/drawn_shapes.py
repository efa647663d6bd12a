"""Ellipses of three colours on noise, and detectors of two stages trained to find them: `import drawn_shapes`.

The training is as short as tests allow (Ren et al., 2015, Faster R-CNN, section 3; He et al., 2017, Mask R-CNN, section 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from edgepress.data import Batch
from edgepress.data._arrays import ArrayData
from edgepress.detection import overlaps
from edgepress.models._proposals import UNWEIGHTED, WEIGHTED, Proposals, decode

CLASSES = 3
NOISE = 0.3
PREDICTORS = ("cls_logits", "bbox_pred", "cls_score", "logits", "offsets")
"""What says something: it begins near zero, so that the first steps ruin nothing."""


@dataclass(frozen=True)
class Drawing:
    """Pictures of `side` pixels a side, with up to `most` ellipses whose boxes have sides in a range."""

    side: int
    shortest: int
    longest: int
    most: int

    def batch(self, random: np.random.Generator, count: int) -> Batch:
        """So many pictures with their boxes."""
        pictures = random.normal(0, NOISE, (count, 3, self.side, self.side)).astype(np.float32)
        boxes = np.full((count, self.most, 6), -1, np.float32)
        for picture, found in zip(pictures, boxes, strict=True):
            for number in range(random.integers(1, self.most + 1)):
                size = random.integers(self.shortest, self.longest, 2)
                corner = np.array([random.integers(0, self.side - side) for side in size])
                box = np.concatenate((corner, corner + size)).astype(np.float32)
                if overlaps(box[None], found[:number, 1:5]).max(initial=0) > 0.1:
                    continue
                colour = random.integers(CLASSES)
                places = (np.arange(self.side) + 0.5)[None]
                shape = inside(*(torch.from_numpy(array) for array in (places, places, box[None])))[0].numpy()
                picture[:, shape] -= 0.5
                picture[colour, shape] += 1.5
                found[number] = (colour, *box, 0)
        return Batch((pictures,), boxes)

    def data(self, seed: int, count: int) -> ArrayData:
        """So many pictures, others than those of training."""
        batch = self.batch(np.random.default_rng((1, seed)), count)
        return ArrayData(*batch.inputs, labels=batch.labels)


def inside(x: torch.Tensor, y: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Which of the points with coordinates `x` and `y` (n x points) lie in the ellipses of boxes (n x 4): n x y x x."""
    low, high = boxes[:, :2], boxes[:, 2:]
    middle, radius = (low + high) / 2, (high - low) / 2
    across, down = (
        ((at - middle[:, axis, None]) / radius[:, axis, None]).square() for axis, at in enumerate((x, y))
    )
    return across[:, None] + down[:, :, None] <= 1


class Shown(nn.Module):
    """A network's own proposals, and regions `near` the truth beside them; what they were made from is kept."""

    def __init__(self, propose: Proposals) -> None:
        super().__init__()
        self.propose = propose
        self.anchors = torch.cat([propose.get_buffer(name) for name in propose.names])
        self.near, self.logits, self.offsets = (torch.empty(0) for _ in range(3))

    def forward(self, logits: list[torch.Tensor], offsets: list[torch.Tensor]) -> torch.Tensor:
        self.logits, self.offsets = torch.cat(tuple(logits), 1), torch.cat(tuple(offsets), 1)
        return torch.cat((self.propose(logits, offsets).detach(), self.near), dim=1)


def trained(network: nn.Module, drawing: Drawing, steps: int, batch_size: int = 8) -> nn.Module:
    """Both stages at once: the network, in evaluation mode."""
    _begin(network)
    random = np.random.default_rng(0)
    assert isinstance(own := network.propose, Proposals)
    network.propose = shown = Shown(own)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, total_steps=steps)
    for _ in range(steps):
        batch = drawing.batch(random, batch_size)
        assert batch.labels is not None
        loss = _loss(
            network.train(), shown, torch.from_numpy(batch.inputs[0]), torch.from_numpy(batch.labels)
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    network.propose = own
    return network.eval()


def _begin(network: nn.Module) -> None:
    """Weights that such a short training can start from: each residual block begins as its shortcut (Goyal et al.,
    2017), and what has no batch norm keeps the size of its inputs."""
    for name, module in network.named_modules():
        if name.endswith("bn3"):
            nn.init.zeros_(module.get_parameter("weight"))
        elif isinstance(module, nn.Conv2d | nn.Linear | nn.ConvTranspose2d) and module.bias is not None:
            if name.endswith(PREDICTORS):
                nn.init.normal_(module.weight, std=0.01)
            else:
                nn.init.kaiming_uniform_(module.weight, a=1)


def _loss(network: nn.Module, shown: Shown, pictures: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    boxes = truth[..., 1:5].clamp(min=0)
    near = (boxes + torch.randn(boxes.shape) * 3).clamp(0, pictures.shape[-1])
    ends = (torch.minimum(near[..., :2], near[..., 2:]), torch.maximum(near[..., :2], near[..., 2:]) + 1)
    shown.near = torch.cat(ends, 2)
    scores, moves, regions, *drawn = network(pictures)
    losses = []
    for number, all_true in enumerate(truth):
        true = all_true[all_true[:, 0] >= 0]
        losses.append(_proposing(shown.logits[number], shown.offsets[number], shown.anchors, true))
        losses.append(_classifying(scores[number], moves[number], regions[number], true))
        if drawn:
            told = (drawn[0][number], scores[number], moves[number], regions[number])
            losses.append(_drawing(*told, true, pictures.shape[-1]))
    return torch.stack(losses).sum() / len(truth)


def _proposing(
    logits: torch.Tensor, offsets: torch.Tensor, anchors: torch.Tensor, truth: torch.Tensor
) -> torch.Tensor:
    """Of one picture: anchors that overlap a box, or more than all others do, against those that overlap none."""
    shared, which = _overlaps(anchors, truth)
    hit = shared.amax(1) >= 0.6
    hit[shared.argmax(0)] = True
    missed = (shared.amax(1) < 0.3) & ~hit
    sure = functional.softplus(-logits[hit])
    others = functional.softplus(logits[missed]).sort(descending=True).values[:64]
    wanted = _encoded(anchors[hit], truth[which[hit], 1:5], UNWEIGHTED)
    return sure.mean() + others.mean() + functional.smooth_l1_loss(offsets[hit], wanted, beta=0.1)


def _classifying(
    scores: torch.Tensor, moves: torch.Tensor, regions: torch.Tensor, truth: torch.Tensor
) -> torch.Tensor:
    """Of one picture: the class of the box that a region overlaps, the background's else, and the way to that box."""
    shared, which = _overlaps(regions, truth)
    is_hit = shared.amax(1) >= 0.5
    labels = torch.where(is_hit, truth[which, 0].long() + 1, 0)
    wanted = _encoded(regions[is_hit], truth[which[is_hit], 1:5], WEIGHTED)
    moved = functional.smooth_l1_loss(_own(moves, labels)[is_hit], wanted, reduction="sum")
    return functional.cross_entropy(scores, labels) + moved / len(regions)


def _drawing(
    drawn: torch.Tensor,
    scores: torch.Tensor,
    moves: torch.Tensor,
    regions: torch.Tensor,
    truth: torch.Tensor,
    side: int,
) -> torch.Tensor:
    """Of one picture: the ellipse within the box that a region's most likely object is moved to."""
    with torch.no_grad():
        likely, boxes = _likely(scores, moves, regions, side)
        shared, which = _overlaps(boxes, truth)
        is_hit = (shared.amax(1) >= 0.5) & (truth[which, 0].long() + 1 == likely)
        wanted = inside(*points(boxes, drawn.shape[-1]), truth[which, 1:5]).float()
    loss = functional.binary_cross_entropy_with_logits(drawn[is_hit], wanted[is_hit], reduction="sum")
    return loss / drawn[0].numel() / max(1, int(is_hit.sum()))


def drawn_right(outputs: Sequence[np.ndarray], truth: np.ndarray, side: int) -> list[float]:
    """Of a network that draws, in pictures of `side` pixels: how far each ellipse and the nearest box's mask overlap, in
    percent of both together, within that box."""
    shares = []
    for scores, moves, regions, drawn, all_true in zip(
        *map(torch.from_numpy, (*outputs, truth)), strict=True
    ):
        true = all_true[all_true[:, 0] >= 0]
        _, boxes = _likely(scores, moves, regions, side)
        nearest = _overlaps(boxes, true)[0].argmax(0)
        wanted = inside(*points(boxes[nearest], drawn.shape[-1]), true[:, 1:5])
        got = drawn[nearest] > 0
        shares += (100 * (wanted & got).sum((1, 2)) / (wanted | got).sum((1, 2))).tolist()
    return shares


def _likely(
    scores: torch.Tensor, moves: torch.Tensor, regions: torch.Tensor, side: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each region's most likely class, and the box that this moves it to."""
    likely = scores[:, 1:].argmax(1) + 1
    return likely, decode(_own(moves, likely), regions, WEIGHTED, side)


def points(boxes: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x and y of the middles of `count` cells a side of boxes (n x 4), each n x count."""
    places = (torch.arange(count) + 0.5) / count
    x, y = (boxes[:, axis, None] + (boxes[:, axis + 2] - boxes[:, axis])[:, None] * places for axis in (0, 1))
    return x, y


def _own(moves: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The offsets (regions x 4) of each region's class, where each class has its own."""
    return moves if moves.shape[1] == 4 else moves.unflatten(1, (-1, 4))[torch.arange(len(labels)), labels]


def _overlaps(boxes: torch.Tensor, truth: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How far each box overlaps each true one, and which of these the most."""
    shared = torch.from_numpy(overlaps(boxes.detach().numpy(), truth[:, 1:5].numpy()))
    return shared, shared.argmax(1)


def _encoded(boxes: torch.Tensor, truth: torch.Tensor, weights: tuple[float, ...]) -> torch.Tensor:
    """The offsets that move boxes onto true ones."""
    sides, wanted = (box[:, 2:] - box[:, :2] for box in (boxes, truth))
    away = (truth[:, :2] + truth[:, 2:] - boxes[:, :2] - boxes[:, 2:]) / 2
    ways = torch.cat((away / sides, (wanted / sides).log()), 1)
    return ways * ways.new_tensor(weights)
