"""Two small stored trials, which every run of the tests trains again: the shelf `SMALL` of the stored results.

    python -m sapnet_core.recipes.store_small

A change of the code that changes results gives them new hashes; this command then stores them anew.
"""

from sapnet_core.experiments.declare import declare
from sapnet_core.experiments.profiles import get_profile
from sapnet_core.experiments.systems import OURS
from sapnet_core.experiments.trial import Trial

__all__ = ["SMALL", "small_trials"]

SMALL = "small"  # a key of `stored.SHELVES`


def small_trials() -> list[Trial]:
    """The trials: SAP-Net on dives at the smallest label share, and I3D+MLP on other dives with all labels."""
    smoke = get_profile("smoke")
    return [declare("mtl-aqa", OURS, 0.1, 0, smoke), declare("finediving", "I3D+MLP", 1.0, 0, smoke)]
