"""What was decided where the paper is silent, ambiguous or misprinted, beside the other readings: the trials behind the
table `decisions`. Each differs in one setting from SAP-Net as decided or, where its name says so, from I3D+MLP."""

from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.profiles import Profile, few_seeds
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial

__all__ = ["DECISIONS", "decision_trials"]

OTHER = {"dataset": "finediving", "share": 0.05}  # where an alternative is tried on FineDiving
BASELINE = {"system": "I3D+MLP"}  # where an alternative is tried on the baseline
# (erratum, alternative) -> (arguments of `declare`, overrides of the method); missing arguments are those
# of `USUAL`
USUAL = {"dataset": "mtl-aqa", "share": 0.1, "system": OURS}
DECISIONS: dict[tuple[str, str], tuple[dict, dict]] = {
    ("E1", "decoder = psnet"): ({}, {"decoder": "psnet"}),
    ("E1", "decoder of C / 4"): ({}, {"decoder_channels": 64}),
    ("E1", "nine clips"): ({"clip_sampling": "9x16"}, {}),
    ("E1", "dense sampling"): ({"clip_sampling": "dense"}, {}),
    ("E2", "tau = 0: every teacher is trusted"): ({}, {"tau": 0.0}),
    ("E3", "agreement with σ = 1"): ({}, {"agreement_sigma": 1.0}),
    ("E3", "confidence = grade"): ({}, {"confidence": "grade"}),
    ("E3", "confidence = grade, of 3"): ({}, {"confidence": "grade", "grades": 3}),
    ("E3", "confidence = grade, L_grade shapes the features"): (
        {},
        {"confidence": "grade", "grade_shapes_features": True},
    ),
    ("E4", "clusters of F, not of F̂"): ({}, {"attention_in_pseudo_labels": False}),
    ("E4", "attention of each step"): ({}, {"attention_per_step": True}),
    ("E5", "M = 4"): ({}, {"M": 4}),
    ("E5", "M = 16"): ({}, {"M": 16}),
    ("E6", "clusters over the batch"): ({}, {"cluster_scope": "dataset"}),
    ("E7", "L_ubc on labeled clips too"): ({}, {"parse_labeled": True}),
    ("E8", "L_ubc summed as printed"): ({}, {"ubc_reduction": "sum"}),
    ("E9", "groups named by pseudo-labels"): ({}, {"group_by": "pseudo"}),
    ("E10", "gradient into the teacher's groups"): ({}, {"detach_teacher_groups": False}),
    ("E10", "iota = 0.1"): ({}, {"iota": 0.1}),
    ("E17", "teacher without labels"): ({}, {"supervise_teacher": False}),
    ("E17", "no warm-up"): ({}, {"warmup": 0.0}),
    ("E17", "as printed: neither"): ({}, {"supervise_teacher": False, "warmup": 0.0}),
    ("E19", "targets in [0, 1]"): ({}, {"unit_targets": False}),
    ("E19", "constant learning rate"): ({}, {"anneal": False}),
    ("E19", "FineDiving: execution, times difficulty"): ({**OTHER, "target": "execution"}, {}),
    ("E19", "FineDiving: targets in [0, 1]"): (OTHER, {"unit_targets": False}),
    ("E19", "200 steps, with all labels"): ({"share": 1.0, "steps": 200, "epochs": 0.0}, {}),
    ("E1", "FineDiving: decoder of C / 4"): (OTHER, {"decoder_channels": 64}),
    ("E1", "FineDiving: decoder = psnet"): (OTHER, {"decoder": "psnet"}),
    ("E3", "FineDiving: confidence = grade"): (OTHER, {"confidence": "grade"}),
    ("E19", "FineDiving: 200 steps, with all labels"): ({**OTHER, "share": 1.0, "steps": 200, "epochs": 0.0}, {}),
    ("E19", "I3D+MLP: targets in [0, 1]"): (BASELINE, {"unit_targets": False}),
    ("E19", "I3D+MLP on FineDiving: targets in [0, 1]"): ({**BASELINE, **OTHER}, {"unit_targets": False}),
}
# the decisions themselves, on the videos and labels of the alternatives
DECIDED: dict[tuple[str, str], tuple[dict, dict]] = {
    ("", "as decided"): ({}, {}),
    ("", "as decided, FineDiving"): (OTHER, {}),
    ("", "as decided, all labels"): ({"share": 1.0}, {}),
    ("", "as decided, FineDiving, all labels"): ({**OTHER, "share": 1.0}, {}),
    ("", "I3D+MLP as decided"): (BASELINE, {}),
    ("", "I3D+MLP as decided, FineDiving"): ({**BASELINE, **OTHER}, {}),
}


def decision_trials(profile: Profile) -> dict[tuple, Trial]:
    """Trials of the decisions and of their alternatives: (erratum, alternative, seed) -> Trial. The decisions have the
    erratum "". There are at most five seeds, and dense clip sampling only where the profile is `complete`."""
    rows = {**DECIDED, **DECISIONS}
    if not profile.complete:
        rows = {key: row for key, row in rows.items() if row[0].get("clip_sampling") != "dense"}
    return {
        (*row, seed): declare(seed=seed, profile=profile, **{**USUAL, **given, **overrides})
        for row, (given, overrides) in rows.items()
        for seed in few_seeds(profile).seeds
    }
