"""A bar that says how far a long run is, how fast it goes and when it will be done."""

from collections.abc import Callable

from tqdm import tqdm

__all__ = ["progress_bar"]


class _Bar(tqdm):
    def __del__(self) -> None:  # left in the middle, by Ctrl-C say: the last word is not the bar's
        self.disable = True


def progress_bar(what: str, **options) -> Callable[[int, int], None]:
    """A function of (done, of all) that draws tqdm's bar on standard error.

    Rate and time left count from its first call, which tells what was there before. `options` go to tqdm.
    """
    bars: list[_Bar] = []

    def report(done: int, of: int) -> None:
        if not bars:
            bars.append(_Bar(total=of, initial=done, desc=what, **options))
        bars[0].update(done - bars[0].n)
        if done == of:
            bars[0].close()

    return report
