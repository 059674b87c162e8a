"""The trials whose results a notebook reads."""

from collections.abc import Iterable
from pathlib import Path

from sapnet_core.experiments.names import KNOWN, SHOWN_IN
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.stored_seeds import with_stored_seeds
from sapnet_core.experiments.tables import declared_trials
from sapnet_core.experiments.trial import Trial
from sapnet_core.reporting.claims import needed_trials
from sapnet_core.reporting.notebooks import own_profile

__all__ = ["LEDGER", "notebook_trials"]

LEDGER = "20_claims"  # the notebook that shows every claim


def notebook_trials(notebooks: Iterable[Path], profile: str | None = None) -> list[Trial]:
    """The trials of all tables and figures that some notebooks show, each once, in the order of `KNOWN`, and those of
    all claims if the ledger's notebook is among them.

    Args:
        notebooks: notebooks; one that shows no table or figure reads no declared trials.
        profile: name of a profile; None takes for each notebook the profile that it names (`own_profile`). Of a study
            that is under way, the trials with stored seeds are taken (`with_stored_seeds`).
    """
    notebooks = list(notebooks)
    asked = {
        (name, profile or own_profile(notebook)) for notebook in notebooks for name in SHOWN_IN.get(notebook.stem, ())
    }
    ordered = sorted(asked, key=lambda pair: (KNOWN.index(pair[0]), pair[1]))
    sizes = {pair: with_stored_seeds(get_profile(pair[1]), pair[0]) for pair in ordered}
    shown = [t for (name, _), size in sizes.items() for t in declared_trials(name, size).values()]
    judged = {profile or own_profile(notebook) for notebook in notebooks if notebook.stem == LEDGER}
    return list(dict.fromkeys([*shown, *(t for name in sorted(judged) for t in needed_trials(get_profile(name)))]))
