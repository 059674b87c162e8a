"""How tests ask for the one clear line that refuses a file."""

import pytest


def refused(load, file, *words):
    """That `load` refuses the file by a ValueError of one line, which begins with its name and has these words."""
    with pytest.raises(ValueError) as error:
        load(file)
    text = str(error.value)
    assert text.startswith(str(file)) and "\n" not in text
    assert all(word in text for word in words), text
