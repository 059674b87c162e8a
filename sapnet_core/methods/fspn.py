"""FSPN: subactions are found without labels, read by the actor from the whole frame, and compared with exemplars.

Source: Gedamu et al., "Fine-Grained Spatio-Temporal Parsing Network for Action Quality Assessment", IEEE Transactions
on Image Processing 2023. There is no public code.

    transitions   t_s = argmax of a_s(t) in the s-th of S equal windows of time; a new subaction begins at t_s + 1
    reading       z <- z + attention(n(z), n(v), n(v)),  z <- z + MLP(n(z)),    z from the actor, v from the whole frame
    pair          p = sigmoid(f([z_e, z_q, y_e])),  o = g([z_e, z_q, y_e]),    y_q = mean_e (y_e + left_k + o_k width_k)
    L = L_gc + BCE(p, one-hot interval of y_q - y_e) + sum_k mean_{pairs in k} (o_k - place)^2

n is a layer normalization. Both views share the parser, whose sizes in time and channels are (C, 12), (C/2, 24),
(C/4, 48) and (C/8, 96) and which ends in an MLP of three layers. L_gc contrasts the groups of equal subactions between
the views (`group_contrast`). The reading has three stages of three blocks with eight heads; each begins with a
convolution over three steps. A stage's output is brought to the width of the next and added to its output; all are
concatenated and averaged over time. The intervals are those of CoRe (`gap_intervals`), without its tree; each pair is
learned in both orders.
Published: 1024 channels, stages of 64, 128 and 256 channels, Adam at 1e-3 and 1e-4 for the backbone, batches of 8, 200
epochs, and a vote of M exemplars as in CoRe, which more than 15 do not improve. It learns from labeled videos only,
looks at actor crops in predictions too, and uses the difficulty, or the action, of every video.
Deviations: M is not clear, and is ten as in CoRe. S and the temperature of L_gc are not published; S = 2 cuts three
subactions, as many as SAP-Net has, by the same authors, and 0.5 is SAP-Net's temperature. The last transition is at
most the last frame but one, so that no subaction is empty. Each subaction has five steps, from its first frame to its
last, and is multiplied by the mean of the activations at its transitions, because no other gradient could reach the
MLP behind an argmax. A subaction's label in L_gc is its place in the order, since nothing else names it. L_gc sees the
steps behind a projection head, which is SAP-Net's. The last term of L is that of a published batch; here it is the
mean of it over groups of eight pairs (`place_loss`), since in a larger batch it would weigh more. Normalization before
attention and MLP is a reading, as in TSA, whose blocks these are (`methods.tsa`). The stages have the same shares of
256 channels, and the parser has batch normalization, as PSNet does. The backbone is frozen, the exemplars of a
prediction are the nearest ones, and the training settings are those of all methods.
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
from sapnet_core.methods.place_loss import place_loss
from sapnet_core.methods.settings import OWN_UNITS, options
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.tsa import CrossAttention
from sapnet_core.methods.video_batch import VideoBatch
from sapnet_core.sapnet.group_contrast import ProjectionHead, group_contrast
from sapnet_core.sapnet.parsing import SubactionParser, TemporalDecoder, key_frames

__all__ = ["SETTINGS", "training", "FSPN", "Reading", "cut"]

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
PAIRS = 8  # of a published batch


def cut(x: Tensor, t: Tensor) -> Tensor:
    """Cut frames (B, T, D) behind transitions into subactions and resample each linearly, from its first frame to its
    last.

    `t` (B, S) are the last frames of all subactions but one, as whole numbers in ascending order, no two of them equal;
    the last transition moves from the last frame to the one before. Returns (B, S + 1, 5, D).
    """
    frames = x.shape[1]
    end = torch.full_like(t[:, :1], frames - 1)
    last = torch.cat([t[:, :-1], t[:, -1:].clamp(max=frames - 2), end], 1)  # (B, S + 1)
    first = torch.cat([torch.zeros_like(end), last[:, :-1] + 1], 1)
    share = torch.linspace(0, 1, STEPS, device=x.device)
    place = first.unsqueeze(2) + share * (last - first).unsqueeze(2)  # (B, S + 1, 5)
    weight = (1 - (place.flatten(1).unsqueeze(2) - torch.arange(frames, device=x.device)).abs()).clamp(min=0)
    return (weight @ x).unflatten(1, (-1, STEPS))  # (B, 5 (S + 1), T) @ (B, T, D)


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
        self.parser = SubactionParser(decoder, o.subactions - 1)
        self.project = ProjectionHead(decoder.width, decoder.width, decoder.width)
        self.reading = Reading(decoder.width, o.width, o.attend)
        size = 2 * o.width * (2**STAGES - 1) + 1
        self.interval, self.place = (layers(size, 256, INTERVALS) for _ in range(2))

    def parse(self, x: Tensor, positions: Tensor) -> Tensor:
        """Parsed steps (B, S + 1, 5, D) from features of one view (B, T, C)."""
        features, logits = self.parser(x, positions)
        t = key_frames(logits)  # (B, S)
        active = torch.sigmoid(logits.gather(1, t.unsqueeze(1)).squeeze(1))  # a_s(t_s), (B, S)
        ends = torch.cat([active[:, :1], active, active[:, -1:]], 1)
        return cut(features, t) * ((ends[:, 1:] + ends[:, :-1]) / 2)[:, :, None, None]

    def compare(self, q: Tensor, e: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the intervals and places in them, (P, 16) each, from features of videos and their exemplars, (P, F)
        each, and the exemplars' scores (P,)."""
        pair = torch.cat([e, q, y.unsqueeze(1)], 1)
        return self.interval(pair), self.place(pair)


def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
    """Settings: `exemplars` (their number), `match` ("difficulty" or "action", what they share with the video),
    `subactions` (S + 1), `width` (of the first stage), `contrast` (weight of L_gc, published 1), `attend` (False: the
    actor reads himself, not the whole frame), and the training settings without `unit_targets`."""
    o = options("fspn", settings, SETTINGS)
    o.batch_unlabeled, o.unit_targets = 1, False
    reseed(generator)
    net = FSPN(train.channels, o).to(train.frame.device)
    draw = Batches(train, o, generator)
    exemplars = Exemplars(train, o.match, generator)
    intervals = GapIntervals.between(draw.y, exemplars.pairs(INTERVALS // 2), INTERVALS)

    def parsed(videos: VideoBatch) -> tuple[Tensor, Tensor]:
        """Parsed steps of the actor and of the whole frame, (B, S + 1, 5, D) each."""
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
            "L_place": place_loss(intervals, place, gap, PAIRS, orders=2),
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
