"""A trial of SAP-Net on a few drawn dives of FineDiving, which trains in seconds."""

from sapnet_core.experiments.trial import Trial


def small_trial(steps: int, **overrides: float) -> Trial:
    """The trial with this number of steps and these settings of SAP-Net, on 40 dives to learn from and 12 to test."""
    return Trial(
        "finediving",
        "drawn",
        "sap-net",
        0.5,
        0,
        "score",
        40,
        12,
        steps=steps,
        size=64,
        overrides=tuple(overrides.items()),
    )
