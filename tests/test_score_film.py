"""A trained network is written whole, scores a new film as its training would, and is refused where it does not fit."""

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from films import av, write
from PIL import Image
from published import drawn, one_array_a_routine
from test_measured import TINY, use
from wording import in_order

from sapnet_core.__main__ import main
from sapnet_core.datasets import load_records
from sapnet_core.datasets.video import probe, read_frames
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.example_folder import write_example
from sapnet_core.experiments.fit import predict_all
from sapnet_core.experiments.model_file import SEALED_AS, export_model, read_model
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.score_film import score_film
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial_data import trial_data
from sapnet_core.runtime.sealed import read_sealed, write_sealed
from sapnet_core.simulator import simulate
from sapnet_core.simulator.draw_annotations import write_annotations

SMALL = replace(TINY, size=48, steps=8)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A network of simulated own videos with degrees of difficulty: the folder, the trial's settings, the file."""
    place = tmp_path_factory.mktemp("own")
    with pytest.MonkeyPatch.context() as patch:
        folder = write_example(place / "data", count=12)
        use(folder, patch, place)
        trial = declare("folder", OURS, 1.0, 0, SMALL, target="execution", boxes="detected")
        run_trials([trial])
        model = export_model(trial, place / "model.safetensors")
        data = trial_data(trial)
        guess = predict_all(trial, data)
    return place, folder, model, data, guess


def test_the_file_is_the_whole_network(own):
    place, folder, model, data, guess = own
    again = read_model(place / "model.safetensors")
    assert again.input == model.input and again.input.kind == "videos" and again.input.boxes == "detected"
    assert again.target.name == "execution" and again.target.points == 30 and len(again.provenance["hash"]) == 16
    assert again.tested.n == int((~data.train).sum()) and again.tested.labeled == 3
    for i, record in enumerate(data.records):
        points = again.points(data.features.views["frame"][i : i + 1], record.difficulty)
        torch.testing.assert_close(points[0], guess[i], atol=1e-3, rtol=0)


def test_a_known_film_gets_the_score_of_its_training(own):
    place, folder, model, data, guess = own
    for i in (0, len(data.records) - 1):
        record = data.records[i]
        scored = score_film(folder / record.path, model, difficulty=record.difficulty)
        assert abs(scored.score - float(guess[i])) < 1e-2
        assert len(scored.subactions) == 3 and len(scored.track()) == 96
        edges = [s.start.seconds for s in scored.subactions] + [scored.subactions[-1].end.seconds]
        assert edges == sorted(edges) and edges[0] == 0 and edges[-1] == pytest.approx((record.frames - 1) / 25)
        for one in scored.subactions:
            assert one.start.frame <= one.key.frame <= one.end.frame


def phone_film(path, turn=True) -> list[int]:
    """A dive as a phone films it: HEVC, portrait by a rotation flag, and pictures at uneven times, which are returned
    in milliseconds."""
    root = path.parent / "dives"
    write_annotations("finediving", root, 4, 4, 7)
    record = load_records("finediving", root)[2]
    video = simulate(record, seed=3, size=144).video
    upright = torch.full((len(video), 3, 256, 144), 90, dtype=torch.uint8)
    upright[:, :, 56:200] = video
    stored = upright.rot90(1, (2, 3)) if turn else upright
    draw = np.random.default_rng(0)
    stamps = np.cumsum([0, *draw.choice([33, 34, 50, 17, 120], len(video) - 1)]).tolist()
    one = 65536
    write(
        path,
        len(video),
        tuple(reversed(stored.shape[2:])),
        codec="libx265",
        stamps=stamps,
        matrix=[0, one, 0, -one, 0, 0, 0, 0, 1 << 30] if turn else None,
        options={"x265-params": "log-level=none", "crf": "16"},
        say=lambda i, *_: stored[i].permute(1, 2, 0).contiguous().numpy(),
    )
    Image.fromarray(upright[40].permute(1, 2, 0).numpy()).save(path.with_suffix(".png"))
    return stamps


@pytest.mark.skipif("libx265" not in av.codecs_available, reason="this build of FFmpeg writes no HEVC")
def test_a_phone_film_is_scored_by_one_command(own, tmp_path, capsys):
    place, folder, model, *_ = own
    film = tmp_path / "IMG 0815.MOV"
    stamps = phone_film(film)
    info = probe(film)
    assert (info.width, info.height, info.frames) == (144, 256, len(stamps))
    asked = ["score", str(film), "--model", str(place / "model.safetensors"), "--out", str(tmp_path / "out")]
    assert main([*asked, "--difficulty", "3.2"]) == 0
    said = capsys.readouterr().out
    assert "IMG 0815.MOV: " in said and "subactions: 1: 0.00 to" in said and "simulated people" in said
    told = json.loads((tmp_path / "out" / "IMG 0815_score.json").read_text())
    assert told["difficulty"] == 3.2 and told["size"] == [144, 256] and len(told["subactions"]) == 3
    assert told["subactions"][-1]["end"]["seconds"] == pytest.approx(stamps[-1] / 1000, abs=0.002)
    track = told["track"]
    assert [row["seconds"] for row in track] == pytest.approx([stamps[r["frame"]] / 1000 for r in track], abs=0.002)
    boxes = np.array([row["box"] for row in track])
    assert (boxes >= -0.5).all() and (boxes[:, ::2] <= 144.5).all() and (boxes[:, 1::2] <= 256.5).all()
    assert 56 < boxes[40:60, 1::2].mean() < 200  # on the dive, which lies in the middle of the upright picture
    upright = torch.from_numpy(np.array(Image.open(film.with_suffix(".png")))).permute(2, 0, 1)
    assert (read_frames(film, [40])[0].float() - upright.float()).abs().mean() < 6
    with Image.open(tmp_path / "out" / "IMG 0815_score.png") as picture:
        assert picture.format == "PNG" and picture.width > 800


def test_a_part_of_a_film_is_scored(own, tmp_path):
    place, folder, model, data, _ = own
    film = folder / data.records[0].path
    whole, part = score_film(film, model), score_film(film, model, begin=0.4, end=1.6)
    assert part.frames[0] == 10 and part.frames[-1] == 40 and part.score != whole.score
    assert part.subactions[0].start.seconds == pytest.approx(0.4)
    with pytest.raises(ValueError, match=" 50 s "):
        score_film(film, model, begin=50)


def refused(call, *words):
    with pytest.raises((ValueError, OSError)) as error:
        call()
    text = str(error.value)
    assert "\n" not in text and all(word in text for word in words), text


def test_what_does_not_fit_is_refused_in_one_line(own, tmp_path, monkeypatch):
    place, folder, model, data, _ = own
    film = folder / data.records[0].path
    np.save(tmp_path / "a.npy", np.zeros((30, 4)))
    refused(lambda: score_film(tmp_path / "a.npy", model), "a.npy", "is no film")
    refused(lambda: score_film(tmp_path / "gone.mp4", model), "gone.mp4")
    (tmp_path / "text.mp4").write_text("no film")
    refused(lambda: score_film(tmp_path / "text.mp4", model), "text.mp4")
    refused(lambda: score_film(film, model, difficulty=-1.0), "difficulty -1")
    weights = tmp_path / "other.safetensors"
    shutil.copy(Path(__file__).parent.parent / "sapnet_core/weights/i3d_sim.safetensors", weights)
    with open(weights, "ab") as file:
        file.write(b" ")
    monkeypatch.setenv("SAPNET_I3D", str(weights))
    refused(lambda: score_film(film, model), "other i3d weights", "SAPNET_I3D")


def changed(own, tmp_path, change) -> Path:
    """A model file whose content was changed, and which was sealed again."""
    tensors, metadata = read_sealed(own[0] / "model.safetensors", SEALED_AS)
    tensors = {name: value.clone() for name, value in tensors.items()}
    change(tensors, metadata)
    return write_sealed(tmp_path / "changed.safetensors", tensors, metadata, SEALED_AS)


CHANGES = {
    "another format": lambda t, m: m.update(format=2),
    "a key more": lambda t, m: m.update(extra=1),
    "a key less": lambda t, m: m.pop("target"),
    "a target that is none": lambda t, m: m["target"].update(scale="big"),
    "a scale of zero": lambda t, m: m["target"].update(scale=0.0),
    "an unknown setting": lambda t, m: m["settings"].update(wings=2),
    "a setting that is none": lambda t, m: m["settings"].update(K="three"),
    "a network a thousand times as wide": lambda t, m: m["settings"].update(channels=256_000_000),
    "a million frames": lambda t, m: m["settings"].update(frames=8_000_000),
    "other channels": lambda t, m: m["settings"].update(channels=128),
    "more subactions": lambda t, m: m["settings"].update(K=4),
    "other clips": lambda t, m: m["settings"].update(clips=20),
    "a period that does not divide": lambda t, m: m.update(period=5),
    "a weight less": lambda t, m: t.pop(next(name for name in t if name.startswith("net."))),
    "a weight more": lambda t, m: t.update({"net.extra": torch.ones(2)}),
    "a weight that is not finite": lambda t, m: next(v for n, v in t.items() if n.startswith("net.")).fill_(torch.nan),
    "no scale": lambda t, m: t.pop("mean"),
    "a deviation of zero": lambda t, m: t["deviation"].zero_(),
    "a backbone of no name": lambda t, m: m["input"].update(kind="smells"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_file_is_refused_in_one_line(own, tmp_path, name):
    file = changed(own, tmp_path, CHANGES[name])
    refused(lambda: read_model(file), str(file))


def test_a_damaged_file_is_refused_in_one_line(own, tmp_path):
    whole = (own[0] / "model.safetensors").read_bytes()
    file = tmp_path / "m.safetensors"
    file.write_bytes(whole)
    assert read_model(file).provenance == own[2].provenance  # a file may be renamed
    flipped = bytearray(whole)
    flipped[-200] ^= 1
    weights = Path(__file__).parent.parent / "sapnet_core/weights/i3d_sim.safetensors"
    for content in (whole[:-50], bytes(flipped), b"", b"PK\3\4" + whole, weights.read_bytes()):
        file.write_bytes(content)
        refused(lambda: read_model(file), str(file))
    file.unlink()
    os.mkfifo(file)
    refused(lambda: read_model(file), str(file))


def test_only_sapnet_with_a_frozen_backbone_is_written(own, tmp_path, monkeypatch):
    place, folder, *_ = own
    monkeypatch.setenv("SAPNET_DATA", str(folder))
    refused(
        lambda: export_model(declare("folder", "I3D+MLP", 1.0, 0, SMALL), tmp_path / "m.safetensors"), "only SAP-Net"
    )
    refused(lambda: export_model(declare("folder", OURS, 1.0, 0, SMALL), tmp_path / "m.pt"), ".safetensors")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def sequences(tmp_path, monkeypatch):
    """Own sequences of different lengths, with a column that never changes."""
    root, draw = tmp_path / "data", np.random.default_rng(0)
    root.mkdir()
    lines = ["id,path,score,split"]
    for i in range(14):
        x = draw.normal(size=(int(draw.integers(30, 90)), 5)).astype(np.float32) * [1, 100, 0.01, 1, 1] + i / 3
        x[:, 4] = 7
        np.save(root / f"{i}.npy", x)
        lines.append(f"s{i},{i}.npy,{i},{'train' if i < 10 else 'test'}")
    (root / "records.csv").write_text("\n".join(lines) + "\n")
    use(root, monkeypatch, tmp_path)
    return root


def test_a_network_of_sequences_scores_sequences(sequences, tmp_path):
    trial = declare("folder", OURS, 1.0, 0, TINY)
    model, data = export_model(trial, tmp_path / "m.safetensors"), trial_data(trial)
    guess = predict_all(trial, data)
    assert model.input.kind == "sequences" and model.input.columns == 5
    for i, record in enumerate(data.records):
        scored = score_film(sequences / record.path, model)
        assert scored.score == pytest.approx(float(guess[i]), abs=1e-2)
    assert scored.moments[-1].frame == record.frames - 1 and scored.moments[-1].seconds is None and not scored.track()
    np.save(tmp_path / "wide.npy", np.zeros((9, 6)))
    refused(lambda: score_film(tmp_path / "wide.npy", model), "6 columns", "from 5")
    refused(lambda: score_film(tmp_path / "film.mp4", model), "film.mp4")
    refused(lambda: score_film(sequences / record.path, model, begin=1.0), "--from")
    refused(lambda: score_film(sequences / record.path, model, difficulty=2.0), "--difficulty")


def test_export_and_score_from_the_command_line(sequences, tmp_path, capsys):
    asked = ["export", "--data", str(sequences), "--model", str(tmp_path / "m.safetensors"), "--profile", "smoke"]
    assert main(asked) == 0
    assert in_order(capsys.readouterr().out, "4 test videos", "rho")
    films = [str(sequences / "0.npy"), str(sequences / "gone.npy"), str(sequences / "1.npy")]
    assert main(["score", *films, "--model", str(tmp_path / "m.safetensors"), "--out", str(tmp_path / "o")]) == 1
    said = capsys.readouterr()
    assert "0.npy: " in said.out and "1.npy: " in said.out and "gone.npy" in said.err and said.err.count("\n") < 5
    assert sorted(p.name for p in (tmp_path / "o").iterdir()) == [
        f"{i}_score.{kind}" for i in (0, 1) for kind in ("json", "png")
    ]
    assert main(["score", films[0], "--model", str(sequences / "0.npy")]) == 2
    assert main(["score", films[0], films[0], "--model", str(tmp_path / "m.safetensors")]) == 2
    err = capsys.readouterr().err
    assert "not a whole file" in err and "overwrite each other" in err


def test_a_network_of_published_features_scores_features(tmp_path, monkeypatch):
    write_annotations("rg", tmp_path / "data", 20, 12, 0)
    records = load_records("rg", tmp_path / "data")
    arrays = drawn(records, 20, (40, 60))
    one_array_a_routine(tmp_path / "data" / "RG" / "features", records, arrays)
    use(tmp_path / "data", monkeypatch, tmp_path)
    trial = declare("rg", OURS, 1.0, 0, TINY.resized("rg", None, None), "Ball")
    model, data = export_model(trial, tmp_path / "m.safetensors"), trial_data(trial)
    guess = predict_all(trial, data)
    for i, record in enumerate(data.records[:3]):
        file = next((tmp_path / "data").rglob(f"{record.key}.npy"))
        assert score_film(file, model).score == pytest.approx(float(guess[i]), abs=1e-2)
    np.save(tmp_path / "x.npy", np.zeros((5, 8)))
    refused(lambda: score_film(tmp_path / "x.npy", model), "8 channels")
