"""SAP-Net for semi-supervised action quality assessment: the network, its losses, and all that its notebooks need.

Whatever a notebook works with can be taken from here, as in `from sapnet_core import SAPNet, run_trials, check`: the
names below are looked up in their rooms when they are first asked for, so that the package itself loads nothing.
"""

import sys
from importlib import import_module

__version__ = "0.1.0"

# where each name lives: a module, and what it offers to notebooks; some of these names are modules themselves
PUBLIC = {
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


if sys.argv[:1] == ["-m"]:  # `python -m` starts a command of this package, which will load libraries for seconds
    from sapnet_core.runtime.command_line import STOPPED

    def _uncaught(kind, error, trace):
        if issubclass(kind, KeyboardInterrupt):
            print(f"\n{STOPPED}", file=sys.stderr, flush=True)
        else:
            sys.__excepthook__(kind, error, trace)

    sys.excepthook = _uncaught

    from sapnet_core.recipes.command_lines import refuse_wrong_arguments

    refuse_wrong_arguments()
