"""Live figures: always a static row of panels first, and sliders only if a reader is there to move them."""

from collections.abc import Callable, Sequence

import matplotlib.pyplot as plt

from sapnet_core.reporting.pictures import picture
from sapnet_core.reporting.style import PAGE

__all__ = ["explore", "is_live", "live_bar", "live_bars"]

LETTER = 0.62  # width of an average letter, as a share of the font size


def is_live() -> bool:
    """Whether a reader runs this notebook interactively.

    An interactive front end lets cells ask for input; Papermill, nbval and nbconvert forbid it.
    """
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return bool(getattr(getattr(get_ipython(), "kernel", None), "_allow_stdin", False))


def live_bar(what: str) -> Callable[[int, int], None] | None:
    """A function of (done, total) that draws a progress bar labeled `what` in an interactive notebook; None anywhere
    else, so that no stored output contains a bar."""
    if not is_live():
        return None
    from tqdm.auto import tqdm

    bars: list[tqdm] = []

    def report(done: int, of: int) -> None:
        if not bars:  # the total is known from the first call on
            bars.append(tqdm(total=of, initial=done, desc=what))
        bars[0].update(done - bars[0].n)
        if done == of:
            bars[0].close()

    return report


def live_bars() -> dict[str, Callable[[int, int], None] | None]:
    """The progress arguments of `run_trials`, by name, each with a `live_bar`."""
    return {"videos": live_bar("features"), "progress": live_bar("trials")}


def explore(
    draw: Callable[..., object],
    static: Sequence[dict[str, object]],
    height: float = 2.2,
    live: bool | None = None,
    *,
    alt: str = "",
    bar: str = "",
    rows: int = 1,
    **sliders,
) -> None:
    """Show `draw` at a few settings side by side; in an interactive notebook add a figure with sliders below.

    Args:
        draw: called as `draw(ax, **values)`; draws into one axes, or into an array of `rows` axes above each other.
        static: settings of the panels, such as `[{"tau": 0.5}, {"tau": 0.9}]`; each panel's title shows its own.
        height: height of the figures in inches.
        live: whether the notebook is interactive; `is_live` decides if None.
        alt: text alternative of the static row (see `picture`); the settings follow it.
        bar: label of a color bar, for a `draw` that returns an image; all settings must use one range of colors.
        rows: number of axes above each other at each setting; those of one row share their y axis.
        sliders: what ipywidgets takes: `tau=(0.0, 1.0, 0.05)`, a list of choices, or a widget.

    Raises:
        ValueError: a slider moves a setting that the static panels do not show.
    """
    if unknown := sorted(set(sliders) - {name for values in static for name in values}):
        raise ValueError(
            f"sliders {unknown} change no setting of the static panels: name settings that the panels show"
        )

    def panels(settings: Sequence[dict[str, object]], width: float) -> list[str]:
        """Draw one column of axes for each setting; returns the settings in words."""
        share = "row" if rows > 1 else False
        fig, axes = plt.subplots(rows, len(settings), figsize=(width, height), squeeze=False, sharey=share)
        for column, values in zip(axes.T, settings, strict=True):
            image = draw(column if rows > 1 else column[0], **values)
        if bar:
            fig.colorbar(image, ax=axes, label=bar, pad=0.02)
        return [", ".join(f"{name} = {value}" for name, value in values.items()) for values in settings]

    titles = panels(static, PAGE)
    letter = LETTER * plt.gcf().axes[0].title.get_fontsize()  # in points
    letters = 72 * PAGE / len(static) / letter  # letters above one panel
    between = ", " if max(map(len, titles)) < letters else ",\n"
    for ax, title in zip(plt.gcf().axes, titles, strict=False):
        ax.set_title(title.replace(", ", between))
    picture(f"{alt or 'The same picture at several settings'}: {'; '.join(titles)}.")
    if not sliders or not (is_live() if live is None else live):
        return
    import ipywidgets
    from IPython.display import display

    def one(**values: object) -> None:
        _ = panels([{**static[0], **values}], PAGE / 2)
        plt.show()

    display(ipywidgets.interactive(one, **sliders))
