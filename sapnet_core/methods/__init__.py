"""Registry of the methods of all tables, behind one small interface. To add a method, write a function such as

    def training(train: TrainSet, settings: Mapping, generator: torch.Generator) -> Training:
        o = options("mine", settings, SETTINGS)      # refuses a setting that is not in SETTINGS
        net = nn.Linear(train.frame.shape[2], 1)
        draw = BatchSampler(train.labeled.cpu(), o.batch, generator)
        def loss(step): i = next(draw); return {"L_all": l_reg(score(train.videos[i]), train.y[i])}
        def score(videos): return net(videos.frame.mean(1)).squeeze(1)
        return Training(net, loss, score, o.steps, o.lr, samplers=[draw])

and register it with `own_method("mine", training)` in the notebook cell, or the file of this folder, that defines it:
such a file is found without any further line. The trainer (`methods.base`) does the rest: Adam, curves, resuming from a
checkpoint, and snapshots of the weights. A method in closed form returns a `Fitted` instead, whose `predict` maps a
`VideoBatch` to (B,) scaled scores. Neither a `TrainSet` nor a `VideoBatch` holds a score hidden from the method.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path

from sapnet_core.features.rotated import ROTATED
from sapnet_core.methods.base import Fitted, Method, Stackable, Training, train, train_stack
from sapnet_core.methods.own import OwnMethod, discovered, own_method_of
from sapnet_core.methods.train_set import TrainSet
from sapnet_core.methods.video_batch import VideoBatch

__all__ = [
    "Fitted",
    "METHODS",
    "OwnMethod",
    "STACKABLE",
    "Stackable",
    "TrainSet",
    "Training",
    "VideoBatch",
    "can_stack",
    "extra_views",
    "get_description",
    "get_method",
    "get_stack",
    "own_method",
    "own_methods",
    "register",
    "trains_backbone",
    "uses_maps",
]

# name -> "module:function" in this package, the function itself, or a method of the reader's own
METHODS: dict[str, Method | str] = {
    "mlp": "mlp:mean_training",
    "mlp-ordered": "mlp:ordered_training",
    "sap-net": "sapnet:training",
    "coreg": "coreg:fit",
    "pseudo-labels": "pseudo:training",
    "vat": "vat:training",
    "s4l": "s4l:training",
    "s4aqa": "s4aqa:training",
    "avg-mtl": "avg_mtl:training",
    "usdl": "usdl:training",
    "musdl": "musdl:training",
    "tsa": "tsa:training",
    "ridge": "ridge:fit",
    "svr": "svr:fit",
    "action-net": "action_net:training",
    "gdlt": "gdlt:training",
    "hgcn": "hgcn:training",
    "pcln": "pcln:training",
    "core": "contrastive_regression:training",
    "tap": "tap:training",
    "fspn": "fspn:training",
    "dae-core": "dae_core:training",
    "tsa-net": "tsa_net:training",
    "sgn": "sgn:training",
    "apt": "apt:training",
    "trs": "trs:training",
    "basl": "basl:training",
}
# methods whose runs can be stacked -> predicate that tells for which settings
STACKABLE: dict[str, Callable[[Mapping], bool] | str] = {
    "mlp": "mlp:can_stack",
    "mlp-ordered": "mlp:can_stack",
    "sap-net": "sapnet:can_stack",
}
# methods that can train the backbone too: they take features from `TrainSet.features`
TRAINS_BACKBONE = ("mlp", "mlp-ordered", "sap-net")

# methods that learn from more views than student and teacher see -> these views, see `TrainSet.rotated`
EXTRA_VIEWS = {"s4l": tuple(ROTATED)}
# methods that look at cells of the backbone's maps and at the actor's boxes, see `VideoBatch.maps`
USES_MAPS = ("tsa-net",)


def extra_views(name: str) -> tuple[str, ...]:
    """Views of the training videos that a method learns from beside those of student and teacher."""
    return EXTRA_VIEWS.get(name, ())


def uses_maps(name: str) -> bool:
    """Whether a method looks at cells of the backbone's maps and at the actor's boxes, where videos have them."""
    return name in USES_MAPS


def trains_backbone(name: str) -> bool:
    """Whether a method can train the backbone together with its network."""
    return name in TRAINS_BACKBONE


def _found(entry: Callable | str) -> Callable:
    if not isinstance(entry, str):
        return entry
    module, _, function = entry.partition(":")
    return getattr(import_module(f"{__name__}.{module}"), function)


def get_description(name: str) -> Method:
    """The function of a registered method, which describes its training or fits a closed form: see `base.Method`.

    Raises:
        ValueError: no method has this name; the message lists the known ones.
    """
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"method {name!r} is unknown: choose one of {', '.join(METHODS)}")
    return _found(METHODS[name])


def get_method(name: str) -> Callable[..., Fitted]:
    """The training function of a registered method: `fit(train, settings, generator, checkpoint=None)`, which is
    `methods.base.train` with the method filled in. Raises as `get_description`."""
    return partial(train, get_description(name))


def get_stack(name: str) -> Callable[..., list[Fitted]]:
    """The training function for several stacked runs: `fit(trains, settings, generators, checkpoint=None)`, which is
    `methods.base.train_stack` with the method filled in.

    Raises:
        ValueError: no method has this name. The function itself raises it where `can_stack` is false.
    """
    return partial(train_stack, get_description(name))


def can_stack(name: str, settings: Mapping) -> bool:
    """Whether runs of a method with these settings can be stacked (`methods.base.train_stack`).

    Raises:
        ValueError: no method has this name.
    """
    get_method(name)
    return name in STACKABLE and _found(STACKABLE[name])(settings)


def own_method(name: str, function: Method, /, **settings) -> None:
    """Register a method of one's own, which a notebook cell or a file defines, with its row in the tables.

    It then trains like every other method, in worker processes, too: they run the text of its cell, which must hold all
    imports and functions that the method needs. `experiments.added_row.own_row` computes its row. The same name
    registers a changed method again. A file of this folder that holds the cell is found without any further line.

    Args:
        name: name of the method and of its row.
        function: the method, as in `base.Method`.
        settings: settings of the row that differ from the method's defaults.

    Raises:
        ValueError: a method of the suite has this name, or the function, its text or a setting cannot be used.
    """
    register(own_method_of(name, function, settings))


def register(own: OwnMethod) -> None:
    """Add a method of one's own to `METHODS`. Raises ValueError if a method of the suite has its name."""
    if own.name in METHODS and not isinstance(METHODS[own.name], OwnMethod):
        raise ValueError(f"{own}: a method of the suite has this name: choose another one")
    METHODS[own.name] = own


def own_methods() -> dict[str, OwnMethod]:
    """The registered methods of the reader's own, by name."""
    return {name: entry for name, entry in METHODS.items() if isinstance(entry, OwnMethod)}


for _own in discovered(Path(__file__).parent):
    register(_own)
