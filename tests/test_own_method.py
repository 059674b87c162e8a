"""A method of one's own: a notebook cell that trains in worker processes, has a row in any table, and can be a file."""

import ast
import linecache
import pickle
import re
import shutil
import textwrap
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
import torch
from test_executors import cluster  # noqa: F401 - a fixture
from test_methods import easy_set

from sapnet_core import methods
from sapnet_core.experiments.added_row import own_row, own_trials
from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.profiles import PROFILES
from sapnet_core.experiments.results import results
from sapnet_core.experiments.run import run_trials
from sapnet_core.experiments.systems import OURS, RIDGE
from sapnet_core.experiments.tables import comparison_trials, declared_trials
from sapnet_core.experiments.trial_hash import trial_hash
from sapnet_core.methods import METHODS, Fitted, get_method, own_method, own_methods
from sapnet_core.methods.own import OwnMethod, discovered

pytestmark = pytest.mark.usefixtures("own_runs", "only_own")

CLOSED = """
    import torch
    from sapnet_core import Fitted, own_method

    LEVEL = 0.5
    print("a cell may print")

    def describe(x):
        return x.mean((1, 2))

    def fit(train, settings, generator):
        if unknown := set(settings) - {"steps", "slope"}:
            raise ValueError(f"toy has no setting {unknown}")
        level = train.y[train.labeled].mean()
        return Fitted(lambda videos: LEVEL * level + settings.get("slope", 1.0) * describe(videos.frame))

    own_method("toy", fit, slope=2.0)
"""
STEPS = """
    import torch
    from sapnet_core import BatchSampler, options, own_method, Training

    def training(train, settings, generator):
        o = options("by steps", settings, {"lr": 0.01})
        net = torch.nn.Linear(train.frame.shape[2], 1)
        draw = BatchSampler(train.labeled, 8, generator)

        def score(videos):
            return net(videos.frame.mean(1)).squeeze(1)

        def loss(step):
            i = next(draw)
            return {"L_all": (score(train.videos[i]) - train.y[i]).square().mean()}

        return Training(net, loss, score, o.steps, o.lr, samplers=[draw])

    own_method("by steps", training)
"""
TINY = replace(PROFILES["smoke"], name="tiny", steps=4, mtl_aqa=(24, 12), finediving=(24, 12))
NUMBERS = count()


@pytest.fixture
def only_own():
    """The methods that a test registers are forgotten after it."""
    before = dict(METHODS)
    yield
    METHODS.clear()
    METHODS.update(before)


def run_cell(text: str) -> dict:
    """Run a cell as a kernel does, which keeps its text under a name of its own."""
    text, file = textwrap.dedent(text), f"<cell {next(NUMBERS)}>"
    linecache.cache[file] = len(text), None, text.splitlines(keepends=True), file
    space = {"__name__": "__main__"}
    exec(compile(text, file, "exec"), space)
    return space


def trained(body: str, **settings):
    """Train a method whose function has this body, and predict with it."""
    head = "import sys, torch\nfrom sapnet_core import Fitted, own_method, Training\n"
    run_cell(f"{head}def fit(train, settings, generator):\n{textwrap.indent(body, '    ')}\nown_method('toy', fit)\n")
    train, x, _ = easy_set()
    return get_method("toy")(train, {"steps": 3, **settings}, torch.Generator().manual_seed(0)).predict(x)


def test_a_cell_is_a_method_with_a_row():
    space = run_cell(CLOSED)
    train, x, _ = easy_set()
    own = get_method("toy")(train, {"slope": 2.0}, torch.Generator()).predict(x)
    assert torch.equal(own, space["fit"](train, {"slope": 2.0}, torch.Generator()).predict(x))
    trial = declare("mtl-aqa", "toy", 0.5, 0, TINY)
    assert (trial.method, trial.overrides) == ("toy", (("slope", 2.0),))
    assert [*own_methods()] == ["toy"] and repr(METHODS["toy"]) == "own method 'toy'"


def test_two_worker_processes_train_it_and_its_row_comes_back():
    run_cell(CLOSED)
    trials = [*own_trials("IV", "toy", TINY, ("40%",)).values()]
    folders = run_trials(trials)
    alone = [(folder / "predictions.csv").read_bytes() for folder in folders]
    for folder in folders:
        shutil.rmtree(folder)
    runs = own_row("IV", "toy", TINY, columns=("40%",), jobs=2)
    assert list(runs[["system", "column", "seed"]].itertuples(index=False, name=None)) == [
        ("toy", "40%", seed) for seed in TINY.seeds
    ]
    assert runs["rho"].tolist() == results(trials)["rho"].tolist() and runs["rho"].notna().all()
    assert [(folder / "predictions.csv").read_bytes() for folder in folders] == alone


@pytest.mark.slow
def test_workers_of_a_cluster_train_it(cluster, monkeypatch):  # noqa: F811
    run_cell(CLOSED)
    monkeypatch.setenv("SAPNET_DASK", cluster[0])
    assert own_row("IV", "toy", TINY, columns=("10%",))["rho"].notna().all()


def test_a_killed_training_goes_on_where_it_was(monkeypatch, tmp_path):
    """The worker that trains the first trial is killed at its 30th step; another one goes on from its checkpoint."""
    monkeypatch.setenv("SAPNET_CHECKPOINT", "0.0001")
    log, dead = tmp_path / "log", tmp_path / "dead"
    dies = STEPS.replace("i = next(draw)", "i = next(draw); die(step, generator)").replace(
        "    def training",
        f"""    import os, pathlib, signal
    LOG, DEAD = pathlib.Path({str(log)!r}), pathlib.Path({str(dead)!r})

    def die(step, generator):
        if generator.initial_seed() == 0:
            with LOG.open("a") as file:
                file.write(f"{{step}} {{os.getpid()}}\\n")
            if step == 30 and not DEAD.exists():
                DEAD.touch()
                os.kill(os.getpid(), signal.SIGKILL)

    def training""",
    )
    run_cell(dies)
    pair = [replace(declare("mtl-aqa", "by steps", 0.5, seed, TINY), steps=60) for seed in (0, 1)]
    dead.touch()  # this run is not killed
    [folder] = run_trials(pair[:1])
    alone = (folder / "predictions.csv").read_bytes()
    shutil.rmtree(folder)
    log.unlink(), dead.unlink()
    assert (run_trials(pair, jobs=2)[0] / "predictions.csv").read_bytes() == alone
    steps, processes = zip(*(line.split() for line in log.read_text().splitlines()), strict=True)
    assert len({*processes}) == 2 and steps.count("0") == 1 and steps[-1] == "59"


def test_every_table_has_room_for_the_row():
    run_cell(CLOSED)
    for table in ("I", "II", "III", "IV", "V", "VI", "VII", "fig05", "fig06", "fig08"):
        found = own_trials(table, "toy", PROFILES["quick"])
        assert found and {system for system, *_ in found} == {"toy"}
        ours = {key[1:]: t for key, t in declared_trials(table, PROFILES["quick"]).items() if key[0] == OURS}
        for (_, *cell), t in found.items():
            names = ("dataset", "share", "seed", "group", "train", "test", "epochs", "target")
            assert all(getattr(t, name) == getattr(ours[tuple(cell)], name) for name in names)
    same = own_trials("IV", RIDGE, PROFILES["quick"], ("10%",))
    assert same.items() <= comparison_trials("IV", PROFILES["quick"]).items()
    for wrong, columns, said in (("fig07", (), "fig07"), ("IV", ("5%",), "5%.*10%")):
        with pytest.raises(ValueError, match=said):
            own_trials(wrong, "toy", PROFILES["quick"], columns)
    with pytest.raises(ValueError, match="'nonesuch'.*toy"):
        own_trials("IV", "nonesuch", PROFILES["quick"])


def test_a_copy_of_the_cell_in_a_file_is_the_same_method(tmp_path):
    run_cell(CLOSED)
    trial = declare("mtl-aqa", "toy", 0.5, 0, TINY)
    as_cell = trial_hash(trial)
    (tmp_path / "toy.py").write_text(f'"""Its source."""\n{textwrap.dedent(CLOSED)}')
    (tmp_path / "other.py").write_text("1 / 0  # a file without a call of own_method() is not looked at\n")
    del METHODS["toy"]
    for own in discovered(tmp_path):
        methods.register(own)
    assert [*own_methods()] == ["toy"] and trial_hash(declare("mtl-aqa", "toy", 0.5, 0, TINY)) == as_cell == trial_hash(
        trial
    )
    assert discovered(Path(methods.__file__).parent) == []  # the suite's own files call it nowhere


@pytest.mark.parametrize(
    "text, said",
    [
        ("own_method('toy', fit", "'toy.py', line 2"),
        ("own_method(name, fit)", "toy.py, line 2: .*own_method"),
        ("own_method('toy')", "toy.py, line 2: .*own_method"),
        ("own_method('toy', fit)", "toy.py, line 2: .*'toy'.*'fit'"),
    ],
)
def test_a_file_that_registers_nothing_is_named(tmp_path, text, said):
    (tmp_path / "toy.py").write_text(f"import torch\n{text}\n")
    with pytest.raises(ValueError, match=said) as refusal:
        discovered(tmp_path)
    assert "toy.py" in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_edited_helper_is_another_trial_and_an_edited_comment_is_not():
    def hashed(text):
        run_cell(text)
        return trial_hash(declare("mtl-aqa", "toy", 0.5, 0, TINY))

    first = hashed(CLOSED)
    assert hashed(CLOSED.replace("LEVEL = 0.5", "LEVEL = 0.5  # half").replace("may print", "prints")) == first
    assert (
        len({first, *(hashed(CLOSED.replace(*pair)) for pair in (("mean((1, 2))", "amax((1, 2))"), ("0.5", "0.25")))})
        == 3
    )


def test_what_the_function_does_not_need_is_left_out():
    """Neither is it run, in a worker process or here, nor does a trial know it."""
    run_cell(CLOSED)
    trial = declare("mtl-aqa", "toy", 0.5, 0, TINY)
    before = trial_hash(trial)
    more = "RUNS = [1]\n    import json\n    RUNS.append(2)\n    other = [run for run in RUNS]\n    LEVEL = 0.5\n"
    run_cell(CLOSED.replace("LEVEL = 0.5\n", more))
    assert trial_hash(trial) == before
    run_cell(CLOSED.replace("LEVEL = 0.5\n", "LEVEL = 0.25\n    LEVEL += 0.25\n"))
    assert trial_hash(trial) != before
    train, x, _ = easy_set()
    guess = get_method("toy")(train, {}, torch.Generator()).predict(x)
    assert (
        torch.isfinite(guess).all() and "other" not in METHODS["toy"]._names and METHODS["toy"]._names["LEVEL"] == 0.5
    )


@pytest.mark.parametrize(
    "text, settings",
    [
        ("def text(train, settings, generator):\n    return Fitted(SCORE)\nown_method('toy', text)\n", {}),
        ("def settings(train, given, generator):\n    return Fitted(SCORE)\nown_method('toy', settings)\n", {}),
        (
            "settings = {'x': 1}\n\ndef fit(train, given, generator):\n    settings['x']\n    return Fitted(SCORE)\n"
            "own_method('toy', fit, slope=2.0)\n",
            {"slope": 2.0},
        ),
        ("_scores = SCORE\n\ndef fit(train, s, g):\n    return Fitted(_scores)\nown_method('toy', fit)\n", {}),
        (
            "try:\n    import json as tool\nexcept ImportError:\n    tool = None\n\ndef fit(train, s, g):\n"
            "    tool.dumps(1)\n    return Fitted(SCORE)\nown_method('toy', fit)\n",
            {},
        ),
    ],
)
def test_names_of_a_text_meet_none_of_the_class(text, settings):
    run_cell(f"from sapnet_core import Fitted, own_method\n\ndef SCORE(x):\n    return x.frame.mean((1, 2))\n\n{text}")
    train, x, _ = easy_set()
    there = pickle.loads(pickle.dumps(METHODS["toy"]))
    for method in (METHODS["toy"], there):
        assert method(train, {}, torch.Generator()).predict(x).isfinite().all() and method.settings == settings


def test_a_local_name_asks_for_no_statement_around_it():
    around = "for seed in range(3):\n    loss = print(seed)\n\n\n"
    local = OwnMethod("toy", f"{around}def fit(train, s, g):\n    loss = 1\n    return loss\n", "fit", {})
    read = OwnMethod("toy", f"{around}def fit(train, s, g):\n    return loss\n", "fit", {})
    assert "print" not in local.definitions and "print" in read.definitions


@pytest.mark.parametrize(
    "around",
    [
        "for X in (1, 2):\n    pass\n",
        "for _, (X, *_) in []:\n    pass\nelse:\n    X = 2\n",
        "with open('x') as X:\n    pass\n",
        "match 2:\n    case int() as X:\n        pass\n",
        "if (X := 2) > 1:\n    pass\n",
        "try:\n    X = 2\nfinally:\n    pass\n",
        "from math import pi as X\n",
        "from math import *\n",
        "import X.y\n",
        "X = {}\nX['key'] = 2\n",
        "class X:\n    pass\nX.level = 2\n",
        "def of_x():\n    global X\n    X = 2\n",
    ],
)
def test_whatever_gives_a_global_name_its_value_is_kept(around):
    own = OwnMethod("toy", f"Y = 1\n{around}\ndef fit(train, s, g):\n    return X\n", "fit", {})
    kept = ast.unparse(ast.parse(around))
    assert kept in own.definitions and "Y = 1" not in own.definitions


def test_star_imports_are_seen_in_code_and_not_in_words():
    head = "from sapnet_core import Fitted, own_method\n\ndef fit(train, s, g):\n    'It has no import * of its own.'\n"
    with pytest.raises(ValueError, match="'toy'.* missing "):
        run_cell(f"{head}    return Fitted(missing)\nown_method('toy', fit)\n")
    run_cell(
        f"from math import *\n{head}    return Fitted(lambda v: v.frame.mean((1, 2)) * pi)\nown_method('toy', fit)\n"
    )


def test_it_survives_the_way_to_another_process():
    run_cell(CLOSED)
    there = pickle.loads(pickle.dumps(METHODS["toy"]))
    assert isinstance(there, OwnMethod) and there.settings == {"slope": 2.0}
    train, x, _ = easy_set()
    guess = [method(train, {}, torch.Generator()).predict(x) for method in (there, METHODS["toy"])]
    assert torch.equal(*guess)


def nested():
    def fit(train, settings, generator):
        return Fitted(lambda videos: videos.frame.mean((1, 2)))

    return fit


@pytest.mark.parametrize(
    "register, said",
    [
        (lambda fit: own_method("ridge", fit), "'ridge'"),
        (lambda fit: own_method("", fit), "name of 1 to 60"),
        (lambda fit: own_method("a\nb", fit), "name of 1 to 60"),
        (lambda fit: own_method(7, fit), "name of 1 to 60"),
        (lambda fit: own_method("toy", "fit"), "'toy'.* str"),
        (lambda fit: own_method("toy", nested()), "'toy'.*'fit'.*`def`"),
        (lambda fit: own_method("toy", lambda *_: None), "'toy'.*`def`"),
        (lambda fit: own_method("toy", fit, slope=[1]), r"'toy'.*slope=\[1\]"),
        (lambda fit: own_method("toy", eval("lambda *_: None")), "'toy'.* text "),
    ],
)
def test_what_cannot_be_registered_is_refused_in_one_line(register, said):
    space = run_cell(CLOSED)
    with pytest.raises(ValueError, match=said) as refusal:
        register(space["fit"])
    assert "\n" not in str(refusal.value)


def test_a_row_of_the_tables_keeps_its_name():
    run_cell(CLOSED.replace('"toy"', '"USDL"'))
    with pytest.raises(ValueError, match="own method 'USDL'"):
        declare("mtl-aqa", "USDL", 0.5, 0, TINY)


def test_what_another_cell_defines_is_missed_at_once():
    with pytest.raises(ValueError, match="'toy'.* np, torch .*import"):
        run_cell(
            """
            from sapnet_core import Fitted, own_method
            def fit(train, settings, generator):
                return Fitted(lambda videos: torch.tensor([np.mean(row) for row in videos.frame.numpy()]))
            own_method("toy", fit)
            """
        )


@pytest.mark.parametrize(
    "body, kind, said",
    [
        ("return 1 / 0", RuntimeError, "line 4, `return 1 / 0`: ZeroDivisionError"),
        ("raise ValueError('no\\nsuch')", ValueError, "line 4, .*: ValueError: no$"),
        ("sys.exit()", RuntimeError, "line 4, `sys.exit()`: SystemExit"),
        ("return fit(train, settings, generator)", RuntimeError, "RecursionError"),
        (
            "class Odd(Exception):\n    def __str__(self): raise self\nraise Odd",
            RuntimeError,
            "line 6.*: Odd$",
        ),
        ("return None", TypeError, "'toy'.* NoneType.* Training.* Fitted"),
        ("return Fitted(lambda videos: 0.5)", ValueError, r" float \(\).* 90 "),
        ("return Fitted(lambda videos: videos.frame[:, :1, 0])", ValueError, r" Tensor \(90, 1\)"),
        ("return Fitted(lambda videos: videos.frame.mean((1, 2)) / 0)", ValueError, "not finite"),
        ("return Fitted(lambda videos: videos.score)", RuntimeError, "AttributeError: .*'score'"),
        ("return Training(torch.nn.Linear(1, 1), lambda i: None, None, 3, 0.1)", ValueError, "L_all"),
        ("return Training(torch.nn.Linear(1, 1), lambda i: {'L_all': 1}, None, 3, 0.1)", ValueError, "L_all"),
        ("return Training(torch.nn.Linear(1, 1), lambda i: torch.no, None, 3, 0.1)", RuntimeError, "AttributeError"),
    ],
)
def test_a_broken_function_is_one_line(body, kind, said):
    said = said.replace("exit()", re.escape("exit()"))
    with pytest.raises(kind, match=said) as refusal:
        trained(body)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


@pytest.mark.slow
def test_a_broken_function_is_one_line_from_worker_processes():
    """An error of a class that only the worker's copy of the text knows could not come back as it is."""
    run_cell(CLOSED.replace("level = ", "raise type('Odd', (Exception,), {})('odd')\n        level = "))
    with pytest.raises(RuntimeError, match="'toy' .*line 14, .*: Odd: odd") as refusal:
        own_row("IV", "toy", replace(TINY, seeds=(7, 8)), columns=("10%",), jobs=2)
    assert "\n" not in str(refusal.value) and len("".join(refusal.value.__notes__)) < 2000
