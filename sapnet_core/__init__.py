"""SAP-Net for semi-supervised action quality assessment: the network, its losses, and the tools of its notebooks.

The names below can be imported from here, as in `from sapnet_core import SAPNet, run_trials, check`. They are imported
from their modules on first use, so that importing the package itself loads nothing. What a single lesson shows, its
notebook imports from the module that it explains.
"""

import sys
from importlib import import_module

__version__ = "0.1.0"

# module -> the names that it offers to notebooks; some of these names are modules themselves
PUBLIC = {
    "sapnet.group_contrast": (
        "group_contrast",
        "group_means",
    ),
    "sapnet.losses": (
        "grade_confidence",
        "grade_edges",
        "l_un",
        "sapnet_losses",
    ),
    "sapnet.network": ("SAPNet",),
    "sapnet.parsing": (
        "interpolation_matrix",
        "key_frames",
    ),
    "sapnet.pseudo_labels": (
        "greedy_states",
        "kmeans",
        "pseudo_labels",
        "select_states",
    ),
    "sapnet.settings": (
        "Branch",
        "Output",
        "SAPNetSettings",
    ),
    "backbones.frozen": ("conv_relu",),
    "backbones.i3d": (
        "EPS",
        "fast_dtype",
        "fold",
        "I3D",
        "load_i3d",
        "load_shipped",
        "MIXED",
        "same_padding",
        "Unit3D",
    ),
    "backbones.kinetics_weights": ("load_kinetics",),
    "backbones.winograd": (
        "ConvOverTime",
        "minimal_filter",
    ),
    "detection.crops": (
        "crop_track",
        "points_to_crop",
        "resize_boxes",
        "square_track",
    ),
    "detection.detector": (
        "Detector",
        "DETECTORS",
        "load_detector",
        "looked_at",
    ),
    "detection.tracking": (
        "actor_boxes",
        "actor_score",
        "choose_actor",
        "fill_boxes",
        "link_detections",
        "track_scores",
    ),
    "datasets": ("load_records",),
    "datasets.clips": (
        "clip_starts",
        "sample_frames",
        "step_positions",
    ),
    "datasets.disk_layout": ("FOLDERS", "read_record"),
    "datasets.finefs": ("COMPONENTS",),
    "datasets.folds": ("fold_names", "folds_in_use"),
    "datasets.label_split": ("label_split",),
    "datasets.raters": ("rater_spread",),
    "datasets.records": (
        "OFFICIAL_SIZES",
        "PERFECT",
        "Record",
    ),
    "datasets.ui_prmd": ("MOVEMENTS",),
    "simulator": (
        "simulate",
        "sport_of",
    ),
    "simulator.draw_annotations": ("write_annotations",),
    "simulator.export": ("frame_offsets", "write_layout"),
    "features.photometric": ("photometric",),
    "features.sequences": (
        "is_sequence",
        "sequence_views",
        "two_views",
    ),
    "features.source": (
        "source_kind",
        "source_name",
        "source_records",
    ),
    "features.store": ("twin_features",),
    "features.video_source": (
        "seen_by_student",
        "simulator_digest",
    ),
    "features.views": ("crop_size",),
    "training.batches": ("BatchSampler",),
    "training.checkpoint": ("Checkpoint",),
    "training.trainable_backbone": ("TrainableBackbone",),
    "methods": (
        "Fitted",
        "gdlt",
        "get_method",
        "get_stack",
        "METHODS",
        "musdl",
        "own_method",
        "s4l",
        "Training",
        "TrainSet",
        "tsa",
        "usdl",
        "vat",
        "VideoBatch",
    ),
    "methods.settings": ("options",),
    "experiments": ("profiles",),
    "experiments.acting_terms": ("idle_terms",),
    "experiments.cross_validation": (
        "cross_validated",
        "fold_trials",
        "out_of_fold",
    ),
    "experiments.declare": (
        "declare",
        "EPOCHS",
    ),
    "experiments.failed_dives": ("failed_dive_scores",),
    "experiments.fit": (
        "fit_trial",
        "label_count",
        "predict_all",
        "train_set",
        "training_task",
        "view_scale",
    ),
    "experiments.floors": ("floors",),
    "experiments.system_cost": ("system_cost",),
    "experiments.metrics": (
        "fisher_mean",
        "relative_l2",
        "spearman",
    ),
    "experiments.added_row": ("own_row", "own_trials"),
    "experiments.rows_on_own_data": ("why_not", "why_not_row"),
    "experiments.paper": (
        "later_numbers",
        "paper_arithmetic",
        "paper_numbers",
        "paper_table",
    ),
    "experiments.profiles": (
        "DATASETS",
        "DIVES",
        "get_profile",
        "ROUTINES",
    ),
    "experiments.resampling": ("Cell", "resampled", "rho_of_draws"),
    "experiments.jigsaws_trials": ("PUBLISHED", "surgeon_table", "surgeon_trials"),
    "experiments.model_file": ("export_model", "read_model"),
    "experiments.score_film": ("score_film",),
    "experiments.ui_prmd_trials": ("people_table", "people_trials", "ROWS", "stored_people"),
    "experiments.results": ("curves", "has_result", "predictions", "results", "run_facts", "trial_folder"),
    "experiments.run": ("run_trial", "run_trials"),
    "experiments.stored": ("is_stored", "stored_size", "stored_trials"),
    "experiments.study_cost": ("study_cost",),
    "experiments.segmentation": (
        "boundary_error",
        "bounds_of_labels",
    ),
    "experiments.intervals": (
        "bootstrap_interval",
        "mean_interval",
        "Paired",
        "paired_difference",
        "seed_scores",
    ),
    "experiments.unlabeled_losses": ("unlabeled_losses",),
    "experiments.statistics": (
        "all_seeds_in_words",
        "compare",
        "compare_over_videos",
        "CONTRADICTED",
        "equivalence",
        "evidence_of",
        "holm",
        "Hypothesis",
        "hypothesis_of",
        "in_words",
        "judge",
        "LEVEL",
        "MARGIN",
        "NO_DIFFERENCE",
        "RHO_DIFFERENCE",
        "seeds_in_words",
        "seeds_to_decide",
        "SUPPORTED",
        "two_sided",
        "UNDECIDED",
        "VERDICTS",
    ),
    "experiments.systems": (
        "CONTROLS",
        "EVERY",
        "OURS",
        "REFINED",
        "REMOVED",
        "RIDGE",
        "RIVALS",
        "SEARCHED",
        "SYSTEMS",
        "TRAINED",
        "marked",
    ),
    "experiments.stored_seeds": ("with_stored_seeds",),
    "experiments.decisions": ("DECISIONS",),
    "experiments.example_folder": ("write_example",),
    "experiments.tables": (
        "CENTERS",
        "CLASS_TABLES",
        "class_trials",
        "column_name",
        "comparison_trials",
        "COMPARISONS",
        "declared_trials",
        "figure_trials",
        "SHARES",
        "STATES",
        "table_trials",
        "TABLES",
        "TAUS",
        "TEACHERS",
        "with_average",
    ),
    "experiments.trial": ("Trial",),
    "experiments.record_features": ("record_features", "without_key"),
    "experiments.trial_data": (
        "trial_data",
        "trial_video_source",
    ),
    "experiments.trial_hash": ("trial_hash",),
    "recipes.benchmark": (
        "machine",
        "PlainI3D",
        "race",
        "some_videos",
    ),
    "recipes.pretrain_backbones": (
        "dive_classes",
        "HEADS",
        "pretrain",
        "pretrain_records",
        "pretrain_settings",
    ),
    "recipes.stages": ("stages",),
    "recipes.tuning_space": ("BUDGET",),
    "recipes.train_detector": (
        "actor_shown",
        "draw_batch",
        "draw_twin",
        "people_boxes",
        "recipe_records",
    ),
    "reporting": ("notebooks",),
    "reporting.score_report": ("draw_score",),
    "reporting.checks": (
        "check",
        "digest_line",
        "verify",
    ),
    "reporting.beside_paper": (
        "beside_paper",
        "order_agreement",
    ),
    "reporting.by_verdict": (
        "SEEDS_GROUPS",
        "by_verdict",
        "control_counts",
        "scoreboard",
        "seeds_group",
    ),
    "reporting.came_out": (
        "came_out",
        "noted",
        "verdict_counts",
    ),
    "reporting.caveats": ("caveats",),
    "reporting.claim_forest": ("claim_forest",),
    "reporting.claimed_cells": ("claimed_sentence",),
    "reporting.claims": (
        "claim_cells",
        "effect_text",
        "evaluate",
        "family_table",
        "family_verdicts",
        "needed_trials",
        "read_cell",
        "stated",
        "verdict_of",
        "verdict_text",
    ),
    "reporting.cross_scores": (
        "cross_figure",
        "cross_scores",
    ),
    "reporting.errata": ("errata",),
    "reporting.exercises": ("attempt",),
    "reporting.families": (
        "FAMILIES",
        "systems_of",
    ),
    "reporting.grad_cam": (
        "cell_centers",
        "grad_cam",
        "heat_from_crop",
        "heat_on_pixels",
        "share_inside",
    ),
    "reporting.heatmap": ("control_heatmap", "heatmap"),
    "reporting.ledger": (
        "ledger",
        "printed_effect",
    ),
    "reporting.literal": ("in_figure",),
    "reporting.looked_at": (
        "file_lines",
        "not_above",
    ),
    "reporting.plots": (
        "beyond",
        "forest",
        "seed_curve",
        "seed_marks",
        "stems",
    ),
    "reporting.provenance_table": (
        "provenance",
        "provenance_table",
    ),
    "reporting.save": (
        "save_figure",
        "save_table",
    ),
    "reporting.paired_differences": ("control_differences", "paired_differences"),
    "reporting.pictures": (
        "DATASET_TITLES",
        "picture",
    ),
    "reporting.public_code": (
        "code_table",
        "public_code",
    ),
    "reporting.schematics": ("schematic",),
    "reporting.stability": ("stability_file",),
    "reporting.style": (
        "COLORS",
        "COLUMN",
        "MARKERS",
        "PAGE",
        "larger_text",
        "use_style",
    ),
    "reporting.tables": (
        "as_printed",
        "comparison_table",
        "show",
        "show_text",
    ),
    "reporting.ten_sentences": ("ten_cell",),
    "reporting.verdicts": (
        "examine",
        "part_differences",
    ),
    "reporting.widgets": (
        "explore",
        "live_bar",
        "live_bars",
    ),
    "reporting.worth": ("worth",),
    "runtime": ("environment",),
    "runtime.environment": ("jobs",),
    "runtime.files": (
        "read_json",
        "read_tensors",
    ),
    "runtime.seeds": ("seed_of",),
}
_HOME = {name: module for module, names in PUBLIC.items() for name in names}


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOME[name]}")
    found = getattr(module, name) if hasattr(module, name) else import_module(f"{module.__name__}.{name}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})


# `python -m` is starting a program of this package, whose libraries take seconds to load: until then Ctrl-C ends it
# without a traceback.
if sys.argv[:1] == ["-m"]:
    from sapnet_core.runtime.command_line import STOPPED

    def _uncaught(kind, error, trace):
        if issubclass(kind, KeyboardInterrupt):
            print(f"\n{STOPPED}", file=sys.stderr, flush=True)
        else:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = _uncaught
