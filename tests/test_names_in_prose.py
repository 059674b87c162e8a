"""Back-ticked names exist: in the README, in the notebooks, and in the package's docstrings and comments."""

from pathlib import Path

import names_in_prose
import pytest
from names_in_prose import NOTEBOOKS, PACKAGE, ROOT, is_known, read_code, unknown_in


@pytest.mark.parametrize("room", sorted(p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))))
def test_docstrings_and_comments_name_what_is_there(room):
    assert [line for file in sorted((PACKAGE / room).rglob("*.py")) for line in unknown_in(file)] == []


def test_the_package_itself_names_what_is_there():
    assert unknown_in(PACKAGE / "__init__.py") == []


@pytest.mark.parametrize("file", [ROOT / "README.md", *NOTEBOOKS], ids=lambda file: file.stem)
def test_texts_name_what_is_there(file):
    assert unknown_in(file) == []


OWN = read_code("import numpy as np\nWIDE = 3\ndef cut(video, size):\n    return video.crop(size, mode='edge')\n")


@pytest.mark.parametrize(
    "name",
    [
        "cut",
        "size",
        "WIDE",
        "edge",
        "np.linspace",
        "cut(video, 3)",
        "size=4",
        "(B, T, C)",
        "store.video_features",
        "sapnet_core.features.store",
        "Trial.select",
        "experiments/paper.csv",
        "figures/fig07.png",
        "trial.py",
        "DIR/records.csv",
        "SAPNET_RUNS",
        "SAPNET_SKIP_BAD=1",
        "./runall.sh --only 03",
        "03_pseudo_labels",
        "python -m sapnet_core claims",
        "python -m sapnet_core recipe tune_methods --jobs 2",
        "python -m sapnet_core.reporting.check_notebooks",
        "pip install -e .[cluster]",
        "runs/trials",
        "model_rgb.pth",
    ],
)
def test_names_that_are_there(name):
    assert is_known(name, OWN, "features", PACKAGE / "features")


@pytest.mark.parametrize(
    "name",
    [
        "rotate",
        "widht",
        "WIDER",
        "rotate(video)",
        "actors.crop_track",
        "store.crop_track",
        "features.store.BACKBONES",
        "sapnet_core.trials",
        "sapnet_core.features.stores",
        "experiments/papers.csv",
        "sapnet_core/data/",
        "trials.py",
        "SAPNET_RUN",
        "./runall.sh --onyl 03",
        "python -m sapnet_core.claims",
        "python -m sapnet_core.reporting.claims",
        "python -m sapnet_core clams",
        "python -m sapnet_core recipe tune_method",
        "sapnet clams",
        "sapnet/networks.py",
        "sapnet.networks",
        "sapnet recipe trial",
        "sapnet run --onyl 03",
        "pip install -e .[clusters]",
    ],
)
def test_names_that_lead_nowhere(name):
    assert not is_known(name, OWN, "features", PACKAGE / "features")


def test_files_of_other_repositories_are_theirs(tmp_path, monkeypatch):
    monkeypatch.setattr(names_in_prose, "ROOT", tmp_path)
    (file := Path(tmp_path) / "note.md").write_text("As in (owner/name, `one.py`, `two.py`) and `three.py`.\n")
    assert unknown_in(file) == ["note.md: `three.py`"]
