"""A sentence where compared rows rest on features in different number formats, and none elsewhere."""

from sapnet_core.reporting.number_formats import FEW, format_sentence

F32, B16 = "float32", "bfloat16"


def test_one_format_needs_no_sentence():
    assert format_sentence({("a", "1"): [F32], ("b", "1"): [F32, F32]}) == ""
    assert format_sentence({}) == format_sentence({("a", "1"): []}) == ""


def test_rows_are_named_by_their_format():
    text = format_sentence({("a", "1"): [F32], ("b", "1"): [B16], ("c", "1"): [B16], ("d", "1"): []})
    assert "a in float32; b and c in bfloat16" in text and "d" not in text.partition(": ")[2].partition(";")[0]
    assert text.count(". ") == 1 and text.endswith(".")


def test_a_row_of_both_says_so_and_a_long_list_is_the_rest():
    cells = {(f"r{i}", "1"): [B16] for i in range(FEW + 1)} | {("x", "1"): [F32, B16], ("y", "1"): [F32]}
    text = format_sentence(cells)
    assert "x in bfloat16 and in float32" in text and "all others in bfloat16" in text and "r0" not in text


def test_in_a_sweep_the_values_are_compared():
    text = format_sentence({("tau", "0.1"): [B16], ("tau", "0.7"): [F32], ("tau", "0.9"): [B16]})
    assert "τ = 0.7 in float32; τ = 0.1 and τ = 0.9 in bfloat16" in text
