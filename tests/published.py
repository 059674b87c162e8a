"""Synthetic features of videos in the layouts in which public repositories offer them.

Each writer takes the folder of a dataset's features, its records, and key -> array (T, C), and leaves the files that
the loader of that repository reads.
"""

import pickle
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from sapnet_core.datasets.feature_files import named_arrays
from sapnet_core.datasets.records import Record

Arrays = Mapping[str, np.ndarray]


def drawn(records: Sequence[Record], channels: int = 24, steps: tuple[int, int] = (10, 10), seed: int = 0) -> Arrays:
    """Features in which the score can be seen: key -> (T, C) float32, T drawn between the two ends of `steps`."""
    draw = np.random.default_rng(seed)
    scores = np.array([r.score if r.dataset == "finediving" else r.score / r.difficulty for r in records])
    z, way = (scores - scores.mean()) / scores.std(), draw.normal(size=channels)
    lengths = draw.integers(steps[0], steps[1] + 1, len(records))
    return {
        record.key: (draw.normal(size=(length, channels)) + 0.7 * value * way).astype(np.float32)
        for record, value, length in zip(records, z, lengths, strict=True)
    }


def all_arrays(path: Path | str) -> list:
    """Every array of a file of features, all in memory at once."""
    return list(named_arrays(Path(path)))


def _pair(record: Record) -> tuple[str, int]:
    event, _, number = record.key.rpartition("-")
    return event, int(number)


def one_array_a_routine(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """GDLT and CoFInAl (Swin, clips of 32 frames), and ACTION-NET (I3D): `Ball_001.npy`, (T, C)."""
    place = folder / "swintx_avg_fps25_clip32"
    place.mkdir(parents=True)
    for record in records:
        np.save(place / f"{record.key}.npy", arrays[record.key])


def one_dict_an_apparatus(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """PAMFN: `Ball_rgb_VST.npy`, a pickled dict of (T, 2, C), two halves of each segment; flow and sound beside it."""
    folder.mkdir(parents=True)
    for group in sorted({r.group for r in records}):
        own = {r.key: np.stack([arrays[r.key] - 1, arrays[r.key] + 1], 1) for r in records if r.group == group}
        np.save(folder / f"{group}_rgb_VST.npy", own, allow_pickle=True)
        for other in ("flow_I3D", "audio_AST"):
            np.save(folder / f"{group}_{other}.npy", {key: -x for key, x in own.items()}, allow_pickle=True)


def one_tensor_a_dive(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """TPT: `features_20_958/01_01.pt`, a tensor (T, C) for each clip of MTL-AQA."""
    place = folder / "features_20_958"
    place.mkdir(parents=True)
    for record in records:
        video, clip = map(int, record.key.split("-"))
        torch.save(torch.from_numpy(arrays[record.key]), place / f"{video:02d}_{clip:02d}.pt")


def two_stacks_and_their_names(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """Continual AQA: a pickle of tensors over all training and all test dives of MTL-AQA, and one of their names."""
    folder.mkdir(parents=True)
    features, names = {}, {}
    for part in ("train", "test"):
        own = [r for r in records if r.split == part]
        features[f"{part}_feat"] = torch.from_numpy(np.stack([arrays[r.key] for r in own]))
        features[f"{part}_final_score"] = torch.tensor([r.score for r in own])
        names[f"{part}_video_name"] = torch.tensor([[int(n) for n in r.key.split("-")] for r in own])
    with open(folder / "Kinetics400_i3d_MTL_AQA_seg_10_dim_1024.pkl", "wb") as file:
        pickle.dump(features, file)
    with open(folder / "MTL_video_names.pkl", "wb") as file:
        pickle.dump(names, file)


def one_dict_by_event(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """LOGO's loaders, of FineDiving too: a pickled dict (event, number) -> tensor (T, C, 1, 1, 1)."""
    folder.mkdir(parents=True)
    found = {_pair(r): torch.from_numpy(arrays[r.key])[:, :, None, None, None] for r in records}
    with open(folder / "swin_features_dict.pkl", "wb") as file:
        pickle.dump(found, file)


def folders_of_events(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """`<event>/<dive>.npy`, as the frames of FineDiving lie, in half precision."""
    for record in records:
        event, number = _pair(record)
        (folder / event).mkdir(parents=True, exist_ok=True)
        np.save(folder / event / f"{number}.npy", arrays[record.key].astype(np.float16))


def published_pickles(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """FineFS: `data/video_features/0.pkl`, a file of `torch.save` with a tensor (T, C)."""
    folder.mkdir(parents=True)
    for record in records:
        torch.save(torch.from_numpy(arrays[record.key]), folder / f"{int(record.key)}.pkl")


def by_name_in_one_file(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """A `.npz` with an array for each video."""
    folder.mkdir(parents=True)
    np.savez(folder / "all.npz", **{record.key: arrays[record.key] for record in records})


def stack_with_keys(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """An array over all videos, and their names in a text file with a title."""
    folder.mkdir(parents=True)
    np.save(folder / "features.npy", np.stack([arrays[r.key] for r in records]))
    (folder / "keys.txt").write_text("video\n" + "\n".join(r.key.replace("-", "_") for r in records) + "\n")


def safetensors_stack(folder: Path, records: Sequence[Record], arrays: Arrays) -> None:
    """Stacks of both views and numbers of the videos in a `.safetensors`."""
    folder.mkdir(parents=True)
    frame = torch.from_numpy(np.stack([arrays[r.key] for r in records]))
    keys = torch.tensor([[int(n) for n in r.key.split("-")] for r in records])
    save_file({"frame": frame, "actor": frame + 1, "keys": keys}, folder / "dives.safetensors")


# dataset -> layouts, and the lengths that their arrays have
LAYOUTS: dict[str, list[tuple[Callable, tuple[int, int]]]] = {
    "mtl-aqa": [
        (one_tensor_a_dive, (20, 20)),
        (two_stacks_and_their_names, (10, 10)),
        (stack_with_keys, (10, 10)),
        (safetensors_stack, (10, 10)),
    ],
    "finediving": [(one_dict_by_event, (9, 9)), (folders_of_events, (6, 40))],
    "rg": [(one_array_a_routine, (60, 75)), (one_dict_an_apparatus, (60, 75)), (by_name_in_one_file, (26, 26))],
    "finefs": [(published_pickles, (150, 260))],
}
