"""File names that a person reads as equal but a computer does not: they differ in Unicode form, invisible characters,
capitals or endings.

macOS writes "Zoë" with an e and a combining diaeresis, most keyboards with a single character. A name in another form
of Unicode is found where it is unambiguous (`Names.real`); otherwise the most similar name is suggested (`Names.near`).
"""

import os
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import unquote

__all__ = ["Names", "hidden", "look", "loose", "nfc"]

nfc = partial(unicodedata.normalize, "NFC")
# characters that Python considers printable but that are invisible: fillers, joiners, variation selectors
UNSEEN = {
    0x034F,
    0x115F,
    0x1160,
    0x17B4,
    0x17B5,
    0x180B,
    0x180C,
    0x180D,
    0x180F,
    0x2800,
    0x3164,
    0xFFA0,
    *range(0xFE00, 0xFE10),
    *range(0xE0100, 0xE01F0),
}


def look(text: str) -> str:
    """A normal form of a text, equal for texts that look the same to a person."""
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    seen = (c for c in text if ord(c) not in UNSEEN and unicodedata.category(c) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", "".join(seen)).split())


def loose(text: str) -> str:
    """A looser normal form of a name: case-folded, URL-decoded, and without spaces, hyphens, underscores and quotes."""
    return re.sub(r"[\s_\-\"'“”„«»]", "", look(unquote(text)).casefold())


def hidden(text: str) -> str:
    """The first invisible or unprintable character of a text, such as "U+200B"; "" where there is none."""
    if text.isascii() and text.isprintable():
        return ""
    return next((f"U+{ord(c):04X}" for c in text if not c.isprintable() or ord(c) in UNSEEN - {0xFE0F}), "")


class Names:
    """Finds names below one folder; each folder is listed only once."""

    def __init__(self, root: Path):
        self.root = root
        self._listed: dict[tuple[str, Callable], dict[str, list[str]]] = {}

    def real(self, parts: Sequence[str]) -> list[str] | None:
        """The names on disk along the path `parts`, equal up to their Unicode form; None where there is none, or are
        several."""
        return self._walk(parts, nfc)

    def near(self, parts: Sequence[str]) -> str:
        """The most similar path on disk and its difference, such as "'films/Anna.mp4' (capitalized differently)"; ""
        where nothing is similar."""
        *folders, name = parts
        for key in (nfc, str.casefold, look, loose):
            if len(several := self._alike(self._walk(folders, key), name, key)) > 1:
                return f"each of {len(several)} names that look the same ({', '.join(map(ascii, several[:3]))})"
            if found := self._walk(parts, key):
                return _told("/".join(parts), "/".join(found))
        above = self._walk(folders, loose)
        ends = self._names("/".join(above), _stem) if above is not None else {}
        if others := ends.get(_stem(name)) or ends.get(loose(name)):
            return f"{'/'.join([*above, others[0]])!r} (with another extension)"
        if len(parts) > 1 and (found := self._walk(parts[1:], loose) or self._walk(parts[-1:], loose)):
            return repr("/".join(found))
        for folder in self._names("", str).values():
            if os.path.lexists(self.root / folder[0] / name) and (self.root / folder[0]).is_dir():
                return repr(f"{folder[0]}/{name}")
        try:
            mended = "/".join(parts).encode("cp1252").decode()
        except UnicodeError:
            return ""
        found = self._walk(mended.split("/"), nfc) if mended != "/".join(parts) else None
        return f"{'/'.join(found)!r} (UTF-8 was read as code page 1252)" if found else ""

    def _walk(self, parts: Sequence[str], key: Callable[[str], str]) -> list[str] | None:
        found: list[str] = []
        for part in parts:
            exact = os.path.lexists(self.root.joinpath(*found, part))
            alike = [part] if exact else self._alike(found, part, key)
            if len(alike) != 1:
                return None
            found.append(alike[0])
        return found

    def _alike(self, folder: Sequence[str] | None, name: str, key: Callable[[str], str]) -> list[str]:
        return [] if folder is None else self._names("/".join(folder), key).get(key(name), [])

    def _names(self, folder: str, key: Callable[[str], str]) -> dict[str, list[str]]:
        """Names in a folder, grouped by `key(name)`."""
        if (folder, key) not in self._listed:
            names: dict[str, list[str]] = {}
            try:
                for name in sorted(os.listdir(self.root / folder)):
                    names.setdefault(key(name), []).append(name)
            except OSError:
                pass  # the folder does not exist or cannot be listed: it counts as empty
            self._listed[folder, key] = names
        return self._listed[folder, key]


def _stem(name: str) -> str:
    return loose(os.path.splitext(name)[0])


def _told(asked: str, found: str) -> str:
    if asked.casefold() == found.casefold():
        return f"{found!r} (capitalized differently)"
    if look(asked) == look(found):
        return f"a name that looks the same ({ascii(found)})"
    return repr(found)
