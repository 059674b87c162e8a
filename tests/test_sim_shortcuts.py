"""No part of a performance tells its score alone: what is seen of one phase predicts it worse than all phases do."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import RidgeCV

from sapnet_core.experiments.metrics import spearman
from sapnet_core.features.source import source_records
from sapnet_core.simulator import simulate
from sapnet_core.simulator.settings import settings_for

PHASES = ("take-off", "flight", "entry")
FRAMES, SIZE, CELLS = 12, 48, 12


def _seen(record) -> torch.Tensor:
    """What is seen of each phase (3, 2 * 3 * 12 * 12): mean and spread over its frames of the averaged pixels."""
    offsets = torch.linspace(0, record.frames - 1, FRAMES)
    twin = simulate(record, seed=5, size=SIZE, settings=settings_for(record.dataset), offsets=offsets)
    pixels = F.adaptive_avg_pool2d(twin.video.float() / 255, CELLS).flatten(1)  # (T, 3 * 12 * 12)
    last = int(twin.subactions.max())
    phase = (twin.subactions > 0).long() + (twin.subactions == last).long()
    rows = []
    for number in range(len(PHASES)):
        own = pixels[phase == number]
        rows.append(
            torch.cat([own.mean(0), own.std(0, correction=0)]) if len(own) else torch.zeros(2 * pixels.shape[1])
        )
    return torch.stack(rows)


def _rho(x: np.ndarray, y: np.ndarray, learn: np.ndarray) -> float:
    x = (x - x[learn].mean(0)) / (x[learn].std(0) + 1e-3)
    machine = RidgeCV(np.logspace(1, 6, 11)).fit(x[learn], y[learn])
    return float(spearman(torch.from_numpy(machine.predict(x[~learn])), torch.from_numpy(y[~learn])))


@pytest.mark.parametrize("dataset", ["mtl-aqa", "finediving"])
def test_one_phase_tells_less_than_all(dataset, tmp_path):
    records = source_records(dataset, 400, 160, 5, None, tmp_path)
    seen = torch.stack([_seen(r) for r in records]).double().numpy()  # (N, 3, D)
    execution = np.array([r.execution for r in records])
    learn = np.array([r.split == "train" for r in records])
    alone = {name: _rho(seen[:, i], execution, learn) for i, name in enumerate(PHASES)}
    together = _rho(seen.reshape(len(seen), -1), execution, learn)
    print(dataset, alone, together)
    assert max(alone.values()) < together - 0.03
