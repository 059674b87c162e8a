"""The hash of a trial: it names the folder of the trial's result, and the rows of a stored result."""

import inspect
import textwrap
from dataclasses import asdict
from functools import lru_cache

from sapnet_core.backbones.registry import backbone_digest
from sapnet_core.experiments.cell_views import cell_views
from sapnet_core.experiments.fold_trial import FoldTrial
from sapnet_core.experiments.measured_data import is_absent, stored_digests
from sapnet_core.experiments.trial import STAGE_OF, Trial
from sapnet_core.experiments.trial_data import digested_records, sequence_root, trial_video_source
from sapnet_core.features.dumped import dumped_digest
from sapnet_core.features.sequences import is_sequence, sequence_digest
from sapnet_core.features.source import drawn_digest
from sapnet_core.features.store import features_digest
from sapnet_core.features.video_source import simulator_digest
from sapnet_core.methods import METHODS, OwnMethod
from sapnet_core.runtime import environment
from sapnet_core.runtime.fingerprint import code_digest, fingerprint, syntax

__all__ = ["FORMAT", "trial_hash"]

FORMAT = 6  # raise it when a code change alters results, even by rounding: all trials are then run again
TRAINS = (
    "backbones.last_blocks",
    "datasets.label_details",
    "datasets.label_split",
    "experiments.fit",
    "experiments.selection",
)
# modules between features and training, and between predictions and the stored numbers
AROUND = (
    "datasets.records",
    "experiments.intervals",
    "experiments.metrics",
    "experiments.trial_data",
    "experiments.trial_metrics",
)


def trial_hash(trial: Trial) -> str:
    """Digest, in 16 hexadecimal digits, of what a trial is: its fields, records, videos, backbone, and the code that
    trains it.

    It is the same on every machine: neither the processor nor the number format in which the features are computed
    enters it, although both change the last digits of a result, which names them (`results.run_facts`). Computing the
    hash draws no annotations, renders no videos, loads no backbone and writes nothing.

    Raises:
        FileNotFoundError: the data are absent, and no results of them are stored.
    """
    t = trial
    if t.source == "drawn" and t.boxes == "true":
        drawn = drawn_digest(t.dataset, t.train, t.test, t.twin_seed)
        made_by = simulator_digest(t.dataset), backbone_digest(t.backbone, None)
        return _twins_hash(FORMAT, t, drawn, made_by, _training_digest(t))
    if t.source == "drawn":
        made_of = [drawn_digest(t.dataset, t.train, t.test, t.twin_seed), _features_digest(t)]
    elif is_absent(t.dataset):
        made_of = stored_digests(t.dataset)
    else:
        records, digest = digested_records(t.dataset, t.source, t.train, t.test, t.twin_seed)
        video_source = trial_video_source(t)
        if t.source == "features":
            made_of = [digest, dumped_digest(t.dataset, sequence_root(t)), environment.skip_bad()]
        elif is_sequence(records):
            made_of = [digest, sequence_digest(records, sequence_root(t))]
        else:
            made_of = [digest, _features_digest(t)]
            made_of += [[video_source.stamp(r) for r in records], video_source.skip]
    return fingerprint(FORMAT, asdict(t), made_of, _training_digest(t))


@lru_cache(maxsize=16384)  # every look at a result asks for its hash: many times in a notebook
def _twins_hash(_format: int, t: Trial, drawn: str, _made_by: tuple[str, str], training: str) -> str:
    """The hash of a trial on twins with true boxes, of which all but the arguments is fixed while a process lasts."""
    return fingerprint(FORMAT, asdict(t), [drawn, _features_digest(t)], training)


def _features_digest(t: Trial) -> str:
    digest = features_digest(
        t.dataset,
        trial_video_source(t),
        clip_sampling=t.clip_sampling or None,
        device=None,
        backbone=t.backbone,
        stage=STAGE_OF[t.backbone_training],
    )
    return fingerprint(digest, code_digest("experiments.cell_views")) if cell_views(t) else digest


def _training_digest(trial: Trial) -> str:
    """Digest of the code that puts a trial's data together, draws the labels, trains, predicts and scores.

    For a method of the reader's own it covers the definitions that the method needs, and for another function that is
    registered, its source.
    """
    entry = METHODS[trial.method]
    own = f"methods.{entry.partition(':')[0]}" if isinstance(entry, str) else "methods.base"
    code = code_digest(
        *TRAINS,
        own,
        within=("methods", "sapnet", "training"),
        without=("methods", "methods.limits"),
        joined=(*AROUND, "datasets.folds") if isinstance(trial, FoldTrial) else AROUND,
    )
    if isinstance(entry, str):
        return fingerprint(code, "")
    source = entry.definitions if isinstance(entry, OwnMethod) else textwrap.dedent(inspect.getsource(entry))
    return fingerprint(code, syntax(source))
