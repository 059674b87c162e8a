"""SAP-Net for semi-supervised action quality assessment: the model, its losses and what its notebooks need."""

import sys

__version__ = "0.1.0"

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
