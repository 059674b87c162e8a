"""The last look at a page before it is written: what is not on the lists below does not stay on it.

Text that people bring is written literally where it is shown (`reporting.literal`); should any of it reach a page as
markup all the same, there is nothing here that it could do: no script, no handler, no form or frame, no style, no link
but to a page and no picture from elsewhere. The work is done by ammonia, a sanitizer that reads HTML as browsers do;
and `policy` asks the browser for the same once more.
"""

import base64
import hashlib
import html
import re

import nh3

__all__ = ["policy", "sanitized"]

TAGS = set(
    "a blockquote br code dd del details div dl dt em figure h1 h2 h3 h4 h5 h6 hr img li main nav ol p pre s section "
    "span strong sub summary sup table tbody td th thead tr ul "
    "math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow mspace msqrt "
    "mstyle msub msubsup msup mtable mtd mtext mtr munder munderover".split()
)
ATTRIBUTES = {
    "*": {"class", "id", "tabindex", "title"},
    "a": {"href"},
    "details": {"open"},
    "img": {"alt", "height", "loading", "src", "width"},
    "ol": {"start"},
    **dict.fromkeys(("td", "th"), {"colspan", "rowspan"}),
    "math": {"display"},
    "mfrac": {"linethickness"},
    "mi": {"mathvariant"},
    "mo": {"accent", "fence", "form", "lspace", "maxsize", "minsize", "movablelimits", "rspace", "stretchy"},
    "mover": {"accent"},
    "mspace": {"height", "width"},
    "mstyle": {"displaystyle", "scriptlevel"},
    "mtable": {"columnalign", "columnspacing", "rowspacing"},
    "munder": {"accentunder"},
    "munderover": {"accent", "accentunder"},
}
# elements that go with all that is in them; of any other that is not listed above, the text stays
WHOLE = {"iframe", "noscript", "object", "script", "style", "svg", "template"}
NEAR = r"(?!//)[^\s:\\?#]*"  # a path that leads to a file beside the page
ADDRESSES = {
    "href": re.compile(rf"https?://\S+|{NEAR}([?#]\S*)?", re.IGNORECASE),
    "src": re.compile(rf"data:image/(png|jpeg);base64,[A-Za-z0-9+/=\s]+|{NEAR}", re.IGNORECASE),
}


def _kept(_tag: str, name: str, value: str) -> str | None:
    return value if name not in ADDRESSES or ADDRESSES[name].fullmatch(value) else None


CLEANER = nh3.Cleaner(
    tags=TAGS,
    clean_content_tags=WHOLE,
    attributes=ATTRIBUTES,
    attribute_filter=_kept,
    url_schemes={"http", "https", "data"},
)


def sanitized(body: str) -> str:
    """The body of a page without anything that could act in a browser."""
    return CLEANER.clean(body)


def policy(style: str) -> str:
    """A Content-Security-Policy, as the element of a page's head: it runs no script, applies the one style whose text
    is given, and shows the pictures in the page and beside it."""
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = (
        "default-src 'none'",
        "img-src 'self' data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{html.escape("; ".join(rules))}">'
