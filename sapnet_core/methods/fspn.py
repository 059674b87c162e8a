"""FSPN: subactions are found without labels, read by the actor from the whole frame, and compared with exemplars.

Source: Gedamu et al., "Fine-Grained Spatio-Temporal Parsing Network for Action Quality Assessment", IEEE Transactions
on Image Processing 2023. There is no public code.

    transitions   t_s = argmax of a_s(t) in the s-th of S equal windows of time
    reading       z <- z + attention(z, v, v),  z <- z + MLP(z),    z from the actor, v from the whole frame
    pair          p = sigmoid(f([z_e, z_q, y_e])),  o = g([z_e, z_q, y_e]),    y_q = mean_e (y_e + left_k + o_k width_k)
    L = L_gc + BCE(p, one-hot interval of y_q - y_e) + sum_k mean_{pairs in k} (o_k - place)^2

Both views share the parser, whose sizes in time and channels are (C, 12), (C/2, 24), (C/4, 48) and (C/8, 96) and which
ends in an MLP of three layers. L_gc contrasts the groups of equal subactions between the views (`group_contrast`). The
reading has three stages of three blocks with eight heads; each begins with a convolution over three steps. A stage's
output is brought to the width of the next and added to its output; all are concatenated and averaged over time. The
intervals are those of CoRe (`gap_intervals`), without its tree; each pair is learned in both orders.
Published: 1024 channels, stages of 64, 128 and 256 channels, Adam at 1e-3 and 1e-4 for the backbone, batches of 8, 200
epochs, ten exemplars as CoRe's. It learns from labeled videos only, looks at actor crops in predictions too, and uses
the difficulty, or the action, of every video.
Deviations: S and the temperature of L_gc are not published; S = 3 and 0.5 are those of SAP-Net, by the same authors. Of
the parsed steps, five a subaction, each is multiplied by its own activation, because no other gradient could reach the
MLP behind an argmax. A subaction's label in L_gc is its place s, since nothing else names it. The stages have the
same shares of 256 channels, and the parser has batch normalization, as PSNet (`methods.tsa`) does. The backbone is
frozen, the exemplars of a prediction are the nearest ones, and the training settings are those of all methods.
"""

from collections.abc import Mapping
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sapnet_core.methods.actor_view import actor_view
from sapnet_core.methods.base import Training
from sapnet_core.methods.building_blocks import Batches, layers, reseed
from sapnet_core.methods.exemplars import Exemplars
from sapnet_core.methods.gap_intervals import GapIntervals
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.tsa import CrossAttention
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.group_contrast import ProjectionHead, group_contrast
from sapnet_core.sapnet.parsing import SubactionParser, TemporalDecoder, key_frames, resampling_matrix

__all__ = ["SETTINGS", "training", "FSPN", "Reading"]

SETTINGS = {
    "exemplars": 10,
    "match": "difficulty",
    "subactions": 3,
    "width": 16,
    "contrast": 1.0,
    "attend": True,
    **OWN_UNITS,
}
FRAMES, STEPS = 96, 5  # of the video, and of each subaction
STAGES, BLOCKS = 3, 3
INTERVALS, TEMPERATURE = 16, 0.5


class Reading(nn.Module):
    """Steps of the actor and of the whole frame (B, T, D) each -> one feature per video (B, 7 `width`).

    Without `attend`, the actor's steps attend to themselves.
    """

    def __init__(self, inputs: int, width: int, attend: bool):
        super().__init__()
        widths = [inputs, *(width * 2**stage for stage in range(STAGES))]
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.enter = nn.ModuleList(nn.Conv1d(a, b, 3, padding=1) for a, b in pairs)
        self.blocks = nn.ModuleList(nn.ModuleList(CrossAttention(b) for _ in range(BLOCKS)) for _, b in pairs)
        self.lift = nn.ModuleList(nn.Linear(a, b) for a, b in pairs[1:])
        self.attend = attend

    def forward(self, z: Tensor, v: Tensor) -> Tensor:
        read: list[Tensor] = []
        for stage, (enter, blocks) in enumerate(zip(self.enter, self.blocks, strict=True)):
            z, v = (enter(part.transpose(1, 2)).transpose(1, 2) for part in (z, v))
            for block in blocks:
                z = block(z, v if self.attend else z)
            if stage:
                z = z + self.lift[stage - 1](read[-1])
            read.append(z)
        return torch.cat(read, 2).mean(1)


class FSPN(nn.Module):
    """Network of FSPN, for features of `channels` channels."""

    def __init__(self, channels: int, o: SimpleNamespace):
        super().__init__()
        decoder = TemporalDecoder(channels, FRAMES, "batch", max(channels, 256))
        self.parser = SubactionParser(decoder, o.subactions)
        self.project = ProjectionHead(decoder.width, decoder.width, decoder.width)
        self.reading = Reading(decoder.width, o.width, o.attend)
        size = 2 * o.width * (2**STAGES - 1) + 1
        self.interval, self.place = (layers(size, 256, INTERVALS) for _ in range(2))
        self.count = o.subactions

    def parse(self, x: Tensor, positions: Tensor) -> Tensor:
        """Parsed steps (B, S, 5, D) from features of one view (B, T, C)."""
        features, logits = self.parser(x, positions)
        sampling = resampling_matrix(key_frames(logits), FRAMES, STEPS)  # (B, 5 S, 96)
        active = (sampling @ torch.sigmoid(logits)).unflatten(1, (self.count, STEPS))  # (B, S, 5, S)
        own = active.diagonal(dim1=1, dim2=3).transpose(1, 2)  # (B, S, 5)
        return (sampling @ features).unflatten(1, (self.count, STEPS)) * own.unsqueeze(3)

    def compare(self, q: Tensor, e: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the intervals and places in them, (P, 16) each, from features of videos and their exemplars, (P, F)
        each, and the exemplars' scores (P,)."""
        pair = torch.cat([e, q, y.unsqueeze(1)], 1)
        return self.interval(pair), self.place(pair)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `exemplars` (their number), `match` ("difficulty" or "action", what they share with the video),
    `subactions` (S), `width` (of the first stage), `contrast` (weight of L_gc, published 1), `attend` (False: the actor
    reads himself, not the whole frame), and the training settings without `unit_targets`."""
    o = options("fspn", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    reseed(generator)
    net = FSPN(train.channels, o).to(train.frame.device)
    draw = Batches(train, o, generator)
    exemplars = Exemplars(train, o.match, generator)
    intervals = GapIntervals.between(draw.y, exemplars.pairs(INTERVALS // 2), INTERVALS)

    def parsed(videos: VideoBatch) -> tuple[Tensor, Tensor]:
        """Parsed steps of the actor and of the whole frame, (B, S, 5, D) each."""
        return net.parse(torch.cat([actor_view("fspn", videos), videos.frame]), train.positions).chunk(2)

    def read(actor: Tensor, frame: Tensor) -> Tensor:
        return net.reading(actor.flatten(1, 2), frame.flatten(1, 2))

    def loss(step: int) -> dict[str, Tensor]:
        i, e = exemplars.both_orders(draw.labeled())
        actor, frame = parsed(train.videos[i])
        z = read(actor, frame)
        logits, place = net.compare(z, z.roll(len(i) // 2, 0), draw.y[e])
        gap = draw.y[i] - draw.y[e]
        hit = F.one_hot(intervals.locate(gap)[0], INTERVALS).to(logits)
        terms = {
            "L_bce": F.binary_cross_entropy_with_logits(logits, hit, reduction="sum") / len(i),
            "L_place": intervals.losses(logits.log_softmax(1), place, gap)["L_place"],
        }
        terms["L_all"] = terms["L_bce"] + terms["L_place"]
        if o.contrast:
            label = torch.arange(o.subactions, device=i.device).expand(len(i), -1)
            h, h_actor = net.project(frame), net.project(actor)
            terms["L_gc"] = group_contrast(h, label, h_actor, label, o.subactions, TEMPERATURE, False)
            terms["L_all"] = terms["L_all"] + o.contrast * terms["L_gc"]
        return terms

    def score(videos: VideoBatch) -> Tensor:
        z, known = (read(*parsed(part)) for part in (videos, train.videos[exemplars.rows]))

        def relative(q: Tensor, e: Tensor) -> Tensor:
            rows = exemplars.place(e)
            return intervals.read(*net.compare(z[q], known[rows], draw.y[e]))

        return exemplars.vote(videos, o.exemplars, relative)

    return Training(net, loss, score, o.steps, o.lr, draw.samplers)
