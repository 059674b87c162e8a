"""Assert that a file is refused with one clear line."""

import pytest


def refused(load, file, *words):
    """Assert that `load` raises a ValueError of one line, which begins with the file's path and contains the words."""
    with pytest.raises(ValueError) as error:
        load(file)
    text = str(error.value)
    assert text.startswith(str(file)) and "\n" not in text
    assert all(word in text for word in words), text
