"""Sanitize the HTML of a page before it is written: only the elements, attributes and addresses listed below survive.

This is the second line of defense, since text from users is already escaped where it is shown (`reporting.literal`).
Text that reaches a page as markup after all can bring no script, event handler, form, frame or style, no link except
to a page, and no image from another site. The work is done by ammonia, a sanitizer that parses HTML as browsers do;
`policy` makes the browser enforce the same rules.
"""

import base64
import hashlib
import html
import re

import nh3

__all__ = ["policy", "sanitized"]

TAGS = set(
    "a blockquote br code dd del details div dl dt em figure footer h1 h2 h3 h4 h5 h6 hr img li main nav ol p pre s "
    "section span strong sub summary sup table tbody td th thead tr ul "
    "math menclose merror mfrac mi mmultiscripts mn mo mover mpadded mphantom mprescripts mroot mrow mspace msqrt "
    "mstyle msub msubsup msup mtable mtd mtext mtr munder munderover".split()
)
ATTRIBUTES = {
    "*": {"class", "id", "tabindex", "title"},
    "a": {"href"},
    "details": {"open"},
    "img": {"alt", "height", "loading", "src", "width"},
    "nav": {"aria-label"},
    "ol": {"start"},
    "td": {"colspan", "rowspan"},
    "th": {"colspan", "rowspan", "scope"},
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
# Elements removed together with their content; any other element that is not in `TAGS` is replaced by its content.
WHOLE = {"iframe", "noscript", "object", "script", "style", "svg", "template"}
NEAR = r"(?!//)[^\s:\\?#]*"  # a path on the page's own site, without scheme or host
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
    link_rel=None,  # it protects against pages that open in another window, and no link here may open one
)


def sanitized(body: str) -> str:
    """Return the body of a page, as HTML, without anything that could act in a browser."""
    return CLEANER.clean(body)


def policy(style: str) -> str:
    """Return a page's Content-Security-Policy as a `<meta>` element for its head.

    It allows no script, only the style sheet whose text is given, and only images embedded in the page or from its own
    site.
    """
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    rules = (
        "default-src 'none'",
        "img-src 'self' data:",
        f"style-src 'sha256-{digest}'",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return f'<meta http-equiv="Content-Security-Policy" content="{html.escape("; ".join(rules))}">'
