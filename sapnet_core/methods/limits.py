"""The values that each setting may have.

They only refuse: what a training computes does not depend on them. The hash of a trial therefore leaves this file out,
so that a new method with a setting of its own makes no stored result out of date.
"""

import math

from sapnet_core.runtime.values import choice, number, switch, whole

__all__ = ["check_value"]

# limits where the defaults do not apply (whole numbers from 1, real numbers from 0): minimum, maximum, excluded end
LIMITS: dict[str, tuple] = {
    "iterations": (0,),
    "batch": (0,),
    "grades": (1,),
    "bins": (2,),
    "levels": (1, 8),
    "subactions": (2,),
    "tau": (0, 1),
    "warmup": (0, 1),
    "decay": (0, 1),
    "boundary": (0, 0.5, "least"),
    "mask": (0, 1),
    "dropout": (0, 1, "most"),
    **dict.fromkeys(("lr", "lr_backbone", "sigma", "xi", "C", "orders"), (0, math.inf, "least")),
}
CHOICES = {"read": ("mean", "mode"), "kernel": ("linear", "rbf"), "match": ("difficulty", "action")}


def check_value(label: str, name: str, value: object, default: object) -> None:
    """Check the value that is given for the setting `name`, whose default has the right kind. Raises ValueError, which
    begins with `label`."""
    if name in CHOICES:
        choice(label, value, CHOICES[name])
    elif isinstance(default, bool):
        switch(label, value)
    elif isinstance(default, int):
        whole(label, value, *LIMITS.get(name, ()))
    elif isinstance(default, float):
        number(label, value, *LIMITS.get(name, ()))
    elif isinstance(value, (tuple, list)) and len(value) == len(default):
        for one, usual in zip(value, default, strict=True):
            check_value(label, name, one, usual)
    else:
        raise ValueError(f"{label}={value!r} is not a sequence of {len(default)} numbers: give one such as {default}")
