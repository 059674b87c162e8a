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

# The fields of a trial that a declaration may set beside its dataset, system and profile.
CHOSEN = ("boxes", "teacher", "clip_sampling", "select", "backbone", "steps", "epochs")


def declare(
    dataset: str,
    system: str,
    share: float,
    seed: int,
    profile: Profile,
    group: str = "",
    target: str | None = None,
    **given,
) -> Trial:
    """The trial of one system at one label share, with the profile's size and the data source that `SAPNET_DATA` gives.

    Args:
        dataset, share, seed, group: fields of the trial.
        system: a row's name, as in `systems.EVERY`.
        profile: gives the numbers of videos, the length of the training and the frame size.
        target: None takes the dataset's own (`TARGET`), or that which a system learns of dives (`TARGET_OF`).
        given: fields of the trial named in `CHOSEN` that differ from what follows from dataset, system and profile (""
            and None change nothing), and settings of the method. Pair systems match exemplars by action on FineDiving
            (`PAIRS`). For SAP-Net, settings that equal the defaults are dropped, so that the default point of a sweep
            is the same trial as in the tables.

    Raises:
        ValueError: the system, dataset or group does not exist, or `Trial` rejects a value.
    """
    method, own = get_system(system)
    choice("dataset", dataset, tuple(TARGET))
    if group and dataset in DATASETS:  # other groups are known only from the records
        choice("group", group, ("", *EPOCHS.get(dataset, ())))
    by_action = {"match": "action"} if system in PAIRS and dataset == "finediving" else {}
    settings = {**own, **by_action, **{name: value for name, value in given.items() if name not in CHOSEN}}
    if method == "sap-net":
        default = {f.name: f.default for f in fields(SAPNetSettings)} | sapnet.SETTINGS
        settings = {name: value for name, value in settings.items() if default.get(name, ...) != value}
    source, (train, test) = source_kind(dataset, environment.data_root()), profile.sizes(dataset)
    if source == "drawn" and dataset in MEASURED:
        raise ValueError(f"{dataset} is measured, not simulated: give the folder that holds it with --data DIR")
    usual = dict(
        dataset=dataset,
        source=source,
        method=method,
        share=share,
        seed=seed,
        target=target or (TARGET_OF.get(system) if dataset in DIVES else None) or TARGET[dataset],
        train=train,
        test=test,
        steps=profile.steps,
        epochs=profile.epochs and EPOCHS.get(dataset, {}).get(group, profile.epochs),
        size=profile.size,
        group=group,
        teacher="frame" if system in BACKBONE_OF else "actor",  # on another backbone there is no teacher, nor crops
        boxes="detected" if source == "videos" else "true",
        overrides=tuple(settings.items()),
        backbone=BACKBONE_OF.get(system, "i3d"),
        backbone_training="last blocks" if system in TRAINED else "frozen",
    )
    chosen = {name: given[name] for name in CHOSEN if given.get(name) not in (None, "")}
    if _is_protocol(chosen.get("clip_sampling", ""), dataset):
        del chosen["clip_sampling"]
    return Trial(**usual | chosen)


def _is_protocol(clip_sampling: str, dataset: str) -> bool:
    """Whether this clip sampling is the dataset's own, which a trial calls ""; that of sequences is "windows"."""
    if dataset in SAMPLED and clip_sampling == default_sampling(dataset):
        return True
    return clip_sampling == "windows" and dataset not in DATASETS
