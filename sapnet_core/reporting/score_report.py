"""The commands `export` and `score`: a trained network as a file, and what it says of new films, as text, as a picture
and as JSON."""

import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure

from sapnet_core.detection.crops import crop_track, square_track
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.model_file import Model, export_model, read_model
from sapnet_core.experiments.profiles import DATASETS, MEASURED, get_profile
from sapnet_core.experiments.score_film import ScoredFilm, score_film
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial
from sapnet_core.features.source import known_datasets, source_kind, source_records
from sapnet_core.reporting.literal import in_figure
from sapnet_core.reporting.style import COLORS, PAGE
from sapnet_core.runtime import environment
from sapnet_core.runtime.command_line import first_line
from sapnet_core.runtime.file_kinds import printable
from sapnet_core.runtime.files import write_bytes, write_json
from sapnet_core.runtime.progress import waiting

__all__ = ["draw_score", "export_trial", "export_to", "score_films"]

PICTURES = 8  # number of frames in a picture
SIDE = 96  # side of a crop in a picture, in pixels


def export_trial(
    dataset: str = "", group: str = "", target: str = "", share: float = 1.0, seed: int = 0, profile: str = "quick"
) -> Trial:
    """The trial of SAP-Net whose network `sapnet export` writes, on the data that `SAPNET_DATA` names.

    Args:
        dataset: name of the dataset; "" takes own data, or the only dataset that is there.
        group: class that the network learns; needed where the data have several.
        target: what it predicts; "" takes execution where own data give degrees of difficulty, else the dataset's own.
        share: labeled share of the training videos.
        seed, profile: as for the tables.

    Raises:
        ValueError: there are no data, several datasets, or several classes, and none is named.
    """
    data = environment.data_root()
    if data is None:
        raise ValueError("export trains on data: give their folder with --data DIR")
    known = known_datasets(data)
    if dataset and dataset not in known:
        raise ValueError(f"{data} does not hold {dataset}: it holds {', '.join(known)}")
    if not dataset and len(known) > 1:
        raise ValueError(f"{data} holds several datasets: choose one with --dataset {{{','.join(known)}}}")
    dataset = dataset or known[0]
    size = get_profile(profile)
    records = source_records(dataset, *size.sizes(dataset), 0, data, environment.runs() / "annotations")
    groups = sorted({record.group for record in records})
    if len(groups) > 1 and not group:
        raise ValueError(f"{dataset} has several classes: choose one with --group {{{','.join(groups)}}}")
    if dataset not in (*DATASETS, *MEASURED) and not target and any(record.difficulty != 1 for record in records):
        target = "execution"
    if source_kind(dataset, data) == "official":
        print(f"{dataset}: only annotations are there, so the network learns from simulated videos", file=sys.stderr)
    return declare(dataset, OURS, share, seed, size, group, target or None)


def export_to(path: Path, trial: Trial) -> None:
    """Train a trial, write its network, and say what it can do."""
    with waiting("training the network"):
        model = export_model(trial, path)
    print(f"{path} ({path.stat().st_size / 1e6:.1f} MB): {_told(model)}", flush=True)


def _told(model: Model) -> str:
    """How a model did on its test videos, in one line."""
    t = model.tested
    return (
        f"{model.trial['dataset']}{' ' + str(model.trial['group']) if model.trial['group'] else ''}, "
        f"{model.target.name}, {t.labeled} scores learned from; on {t.n} test videos rho {t.rho:.2f} "
        f"({t.rho_low:.2f} to {t.rho_high:.2f}), typically {t.error:.3g} points off"
    )


def score_films(
    films: Sequence[Path],
    file: Path,
    folder: Path,
    difficulty: float | None = None,
    begin: float | None = None,
    end: float | None = None,
) -> int:
    """Score films, and write `<film>_score.json` and `<film>_score.png` for each into a folder.

    A film that cannot be scored is reported in one line, and the others are scored.

    Returns:
        1 if a film could not be scored, else 0.

    Raises:
        ValueError: the model cannot be read, or two films would write the same files.
    """
    model = read_model(file)
    names = [film.stem if film.is_file() else film.name for film in films]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two films are named {twice[0]!r}, and would overwrite each other: score one at a time")
    print(f"{file.name}: {_told(model)}")
    failed = 0
    for film, name in zip(films, names, strict=True):
        try:
            with waiting(f"scoring {name}"):
                scored = score_film(film, model, difficulty, begin, end)
                write_json(folder / f"{name}_score.json", scored.told(model))
                write_bytes(folder / f"{name}_score.png", draw_score(scored, model))
        except (ValueError, OSError, ImportError) as error:
            print(f"sapnet score: {first_line(error)}", file=sys.stderr, flush=True)
            failed = 1
            continue
        parts = "; ".join(_part(scored, i) for i in range(len(scored.subactions)))
        print(printable(f"{scored.file}: {scored.score:.2f} points; subactions: {parts}"))
        for note in scored.notes:
            print(f"  note: {note}")
        print(printable(f"  {folder / name}_score.json, .png"), flush=True)
    return failed


def _part(scored: ScoredFilm, index: int) -> str:
    one = scored.subactions[index]
    if one.start.seconds is None:
        return f"{one.number}: steps {one.start.frame:.0f} to {one.end.frame:.0f}"
    return f"{one.number}: {one.start.seconds:.2f} to {one.end.seconds:.2f} s"


def draw_score(scored: ScoredFilm, model: Model) -> bytes:
    """A picture of a scored film as PNG: frames with the actor's box, the crops, and the activations of the subactions
    over time, with their key frames and bounds."""
    film = scored.sampled is not None
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(PAGE, 4.2 if film else 2.4), dpi=150, layout="constrained")
        rows = figure.add_gridspec(3 if film else 1, PICTURES, height_ratios=(1, 1, 1.7) if film else (1,))
        if film:
            _draw_frames(figure, rows, scored)
        ax = figure.add_subplot(rows[-1, :])
        known = scored.moments[0].seconds is not None
        at = [moment.seconds if known else moment.frame for moment in scored.moments]
        for k, one in enumerate(scored.subactions):
            color = COLORS[k % 7]
            start, end, key = (getattr(m, "seconds" if known else "frame") for m in (one.start, one.end, one.key))
            ax.axvspan(start, end, color=color, alpha=0.12, lw=0)
            ax.plot(at, scored.activations[:, k].numpy(), color=color, lw=1.4, label=f"subaction {one.number}")
            ax.plot([key], [one.activation], "o", color=color, ms=5)
        ax.set(xlabel="seconds" if known else "time step", ylabel="activation a_k(t)", xlim=(at[0], at[-1]))
        ax.set_ylim(0, max(1.0, float(scored.activations.max()) * 1.05))
        ax.legend(loc="upper right", fontsize=7, frameon=False, ncols=len(scored.subactions))
        off = f"typically {model.tested.error:.3g} points off on {model.tested.n} test videos"
        figure.suptitle(f"{in_figure(scored.file)}: {scored.score:.2f} points ({off})", fontsize=9)
        stream = BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


def _draw_frames(figure: Figure, rows, scored: ScoredFilm) -> None:
    """Frames evenly over the film with the actor's box in the first row, and the crops below."""
    video, boxes = scored.sampled.video.cpu(), scored.sampled.boxes.cpu()
    shown = torch.linspace(0, len(video) - 1, PICTURES).round().long()
    crops = crop_track(video, square_track(boxes), SIDE)
    for column, t in enumerate(shown.tolist()):
        above, below = (figure.add_subplot(rows[row, column]) for row in (0, 1))
        above.imshow(video[t].permute(1, 2, 0).numpy())
        left, top, right, bottom = boxes[t].tolist()
        above.add_patch(mpl.patches.Rectangle((left, top), right - left, bottom - top, fill=False, ec=COLORS[1], lw=1))
        above.set_title(f"{scored.seconds[t]:.2f} s", fontsize=7)
        below.imshow(crops[t].permute(1, 2, 0).numpy())
        for ax in (above, below):
            ax.set_axis_off()
