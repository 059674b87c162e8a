"""The declaration of one trial of the tables: a system, a dataset and a profile, and all that follows from these.

`experiments.tables` declares whole tables and figures with it.
"""

from dataclasses import fields

from sapnet_core.datasets.clips import SAMPLED, default_sampling
from sapnet_core.experiments.profiles import DATASETS, DIVES, MEASURED, Profile
from sapnet_core.experiments.systems import BACKBONE_OF, PAIRS, TARGET_OF, TRAINED, get_system
from sapnet_core.experiments.trial import Trial
from sapnet_core.features.source import source_kind
from sapnet_core.methods import sapnet
from sapnet_core.runtime import environment
from sapnet_core.runtime.values import choice
from sapnet_core.sapnet.settings import SAPNetSettings

__all__ = ["EPOCHS", "TARGET", "declare"]

# The regression target of each dataset. "execution" is score / difficulty; predictions are multiplied by the known
# degree of difficulty. The paper states this for MTL-AQA only; on FineDiving, FSPN and TSA regress the score itself.
TARGET = {"mtl-aqa": "execution", "finediving": "score", "rg": "score", "finefs": "score", "folder": "score"}
TARGET |= dict.fromkeys(MEASURED, "score")

# The paper's epochs for each class of routines; of all other trainings, the profile gives the epochs.
EPOCHS = {
    "rg": {"Ball": 300, "Clubs": 400, "Hoop": 500, "Ribbon": 300},
    "finefs": {"SP": 400, "FS": 500},
}


def declare(
    dataset: str,
    system: str,
    share: float,
    seed: int,
    profile: Profile,
    group: str = "",
    target: str | None = None,
    boxes: str | None = None,
    teacher: str = "",
    clip_sampling: str = "",
    select: str = "last",
    backbone: str = "",
    steps: int | None = None,
    epochs: float | None = None,
    **overrides,
) -> Trial:
    """The trial of one system at one label share, with the profile's size and the data source that `SAPNET_DATA` gives.

    Args:
        dataset, share, seed: fields of the trial.
        system: a row's name, as in `systems.EVERY`.
        profile: gives the numbers of videos, the length of the training and the frame size.
        group, select: fields of the trial.
        target: None takes the dataset's own (`TARGET`), or that which a system learns of dives (`TARGET_OF`).
        boxes: None takes "detected" for videos on disk, and "true" for twins.
        teacher: "" takes the actor crop, or the whole frame for systems on another backbone than I3D: these have no
            teacher, so that no crops are computed for them.
        clip_sampling: "" takes the dataset's protocol; of sequences, "windows".
        backbone: "" takes the system's own (`BACKBONE_OF`), I3D for most.
        steps, epochs: None takes the profile's, or the epochs that the paper prints for a class of routines.
        overrides: further settings of the method. Pair systems match exemplars by action on FineDiving (`PAIRS`). For
            SAP-Net, those that equal the defaults are dropped, so that the default point of a sweep is the same trial
            as in the tables.

    Raises:
        ValueError: the system, dataset or group does not exist, or `Trial` rejects a value.
    """
    method, own = get_system(system)
    choice("dataset", dataset, tuple(TARGET))
    if group and dataset in DATASETS:  # other groups are known only from the records
        choice("group", group, ("", *EPOCHS.get(dataset, ())))
    by_action = {"match": "action"} if system in PAIRS and dataset == "finediving" else {}
    settings = {**own, **by_action, **overrides}
    if method == "sap-net":
        default = {f.name: f.default for f in fields(SAPNetSettings)} | sapnet.SETTINGS
        settings = {name: value for name, value in settings.items() if default.get(name, ...) != value}
    backbone = backbone or BACKBONE_OF.get(system, "i3d")
    teacher = teacher or ("frame" if system in BACKBONE_OF else "actor")
    protocol = (default_sampling(dataset),) if dataset in SAMPLED else ()
    if clip_sampling in protocol or (clip_sampling == "windows" and dataset not in DATASETS):
        clip_sampling = ""
    source, (train, test) = source_kind(dataset, environment.data_root()), profile.sizes(dataset)
    if source == "drawn" and dataset in MEASURED:
        raise ValueError(f"{dataset} is measured, not simulated: give the folder that holds it with --data DIR")
    return Trial(
        dataset=dataset,
        source=source,
        method=method,
        share=share,
        seed=seed,
        target=target or (TARGET_OF.get(system) if dataset in DIVES else None) or TARGET[dataset],
        train=train,
        test=test,
        steps=profile.steps if steps is None else steps,
        epochs=profile.epochs and EPOCHS.get(dataset, {}).get(group, profile.epochs) if epochs is None else epochs,
        size=profile.size,
        group=group,
        teacher=teacher,
        clip_sampling=clip_sampling,
        select=select,
        boxes=boxes or ("detected" if source == "videos" else "true"),
        overrides=tuple(settings.items()),
        backbone=backbone,
        backbone_training="last blocks" if system in TRAINED else "frozen",
    )
