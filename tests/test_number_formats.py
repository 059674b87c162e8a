"""A sentence where compared rows rest on features in different number formats, and none elsewhere."""

from wording import in_order

from sapnet_core.reporting.number_formats import FEW, format_sentence

F32, B16 = "float32", "bfloat16"


def test_one_format_needs_no_sentence():
    assert format_sentence({("a", "1"): [F32], ("b", "1"): [F32, F32]}) == ""
    assert format_sentence({}) == format_sentence({("a", "1"): []}) == ""


def test_rows_are_named_by_their_format():
    text = format_sentence({("APT", "1"): [F32], ("CoRe", "1"): [B16], ("SGN", "1"): [B16], ("TAP", "1"): []})
    assert in_order(text, "APT", F32, "CoRe", "SGN", B16) and "TAP" not in text
    assert text.count(F32) == text.count(B16) == 1
    assert text.count(". ") == 1 and text.endswith(".")


def test_a_row_of_both_says_so_and_a_long_list_is_the_rest():
    cells = {(f"r{i}", "1"): [B16] for i in range(FEW + 1)} | {("APT", "1"): [F32, B16], ("SGN", "1"): [F32]}
    text = format_sentence(cells)
    assert in_order(text, "APT", B16, F32, "SGN", F32, "others", B16) and "r0" not in text
    assert text.count(F32) == text.count(B16) == 2


def test_in_a_sweep_the_values_are_compared():
    text = format_sentence({("tau", "0.1"): [B16], ("tau", "0.7"): [F32], ("tau", "0.9"): [B16]})
    assert in_order(text, "τ = 0.7", F32, "τ = 0.1", "τ = 0.9", B16)
    assert text.count(F32) == text.count(B16) == 1
