"""The bar of a long run."""

import io

from sapnet_core.runtime.progress import progress_bar


def test_rate_and_rest_count_from_what_was_there():
    stream = io.StringIO()
    report = progress_bar("trial", file=stream, mininterval=0)
    for done in (100, 120, 180):
        report(done, 180)
    first, *_, last = stream.getvalue().replace("\n", "").split("\r")[1:]
    assert first.startswith("trial:  56%") and "100/180 [00:00<?" in first  # no rate yet: nothing was done here
    assert "180/180" in last and last.startswith("trial: 100%") and stream.getvalue().endswith("\n")


def test_a_bar_that_is_left_says_nothing_more():
    stream = io.StringIO()
    report = progress_bar("trial", file=stream, mininterval=0)
    report(1, 3)
    said = stream.getvalue()
    del report
    assert stream.getvalue() == said and "1/3" in said
