"""Hostile texts that a user's table may contain, and a parser that finds whatever could run or load in a page."""

import re
from html.parser import HTMLParser

DEED = "document.title=`owned`"  # the script in the hostile texts: if it runs, the page's title changes
IDS = [
    f"<script>{DEED}</script>",
    f"<img src=x onerror={DEED}>",
    f"<svg onload={DEED}>",
    f"<svg/onload={DEED}//",
    f"<IMG SRC=x OnErRoR='{DEED}'>",
    f'"><img src=x onerror="{DEED}">',
    f"'><svg onload={DEED}>",
    f"[press](javascript:{DEED})",
    f"[press](<javascript:{DEED}>)",
    f"![seen](javascript:{DEED})",
    f"[press](JaVaScRiPt:{DEED})",
    f"[press](java&#115;cript:{DEED})",
    "[press](data:text/html,<script>x</script>)",
    f"[press][ref] [ref]: javascript:{DEED}",
    f"[ref]: javascript:{DEED}",
    "[note][^1] [^1]: <b>x</b>",
    f"<javascript:{DEED}>",
    "<https://example.org/>",
    "see https://example.org/*_&x",
    "www.example.org/_x_",
    "someone@example.org",
    f"<a href=javascript:{DEED}>press</a>",
    f"<a href='java\tscript:{DEED}'>press</a>",
    f'<a href="&#x6a;avascript:{DEED}">press</a>',
    f"<a href='vbscript:{DEED}'>press</a>",
    f"<iframe src='javascript:{DEED}'></iframe>",
    f"<iframe srcdoc='<script>{DEED}</script>'></iframe>",
    "<object data='data:text/html,x'></object>",
    "<embed src=x>",
    "<base href='https://example.org/'>",
    "<meta http-equiv=refresh content='0;url=data:text/html,x'>",
    "<link rel=stylesheet href=https://example.org/x.css>",
    "<style>*{display:none}</style>",
    f"<form action=javascript:{DEED}><button>press",
    f"<input autofocus onfocus={DEED}>",
    f"<details open ontoggle={DEED}>",
    f"<video><source onerror={DEED}></video>",
    f"<body onload={DEED}>",
    f"<math><mtext><table><mglyph><style><img src=x onerror={DEED}>",
    f"<math href='javascript:{DEED}'>press</math>",
    f"<math><a xlink:href='javascript:{DEED}'>press</a></math>",
    f"<svg><style><img src=x onerror={DEED}></style></svg>",
    f"<noscript><p title='</noscript><img src=x onerror={DEED}>'>",
    f"<template><img src=x onerror={DEED}></template>",
    f"<textarea></textarea><img src=x onerror={DEED}>",
    f"<svg><a xlink:href='javascript:{DEED}'><text>press</text></a></svg>",
    f"<<script>{DEED}//<</script>",
    f"<scr<script>ipt>{DEED}</scr</script>ipt>",
    f"<img src=x onerror\n={DEED}>",
    f"<!--><img src=x onerror={DEED}>-->",
    "<!-- left open",
    "]]>",
    "</script>",
    "</table></main></body>",
    f"</title><script>{DEED}</script>",
    f"<div style='width:expression({DEED});background:url(javascript:{DEED})'>x</div>",
    "<p style='position:fixed;inset:0;background:#fff'>x",
    f"$\\href{{javascript:{DEED}}}{{press}}$",
    f"$$\\href{{javascript:{DEED}}}{{press}}$$",
    "$\\text{<b>}$ and $y$",
    f"\\(\\href{{javascript:{DEED}}}{{x}}\\)",
    "\\begin{equation}x\\end{equation}",
    "$a_b$ $5 and $6",
    "`code` ``more``",
    "```",
    "**bold** *it* __b__ _i_ ~~s~~",
    "a | b \\| c",
    "| --- |",
    "# head",
    "- item",
    "&lt;b&gt; &amp;amp; &#60;script&#62; &nbsp;",
    "\\<b\\> \\*x\\*",
    f"two\nlines\n\n<script>{DEED}</script>",
    "a\u2028b\u2029c\x85d",
    "\u202eevil\u202c",
    "tab\there\r",
    "\x00\x1b[31mred\x07",
    "{{ 7*7 }} {% raw %} ${x}",
    f"x' onmouseover='{DEED}' y='",
    f'x" onmouseover="{DEED}" y="',
    "<b>bold</b",
    "<",
    "plain",
    "Zoë Ōta 😀",
]

ELEMENTS = set(
    "main section nav footer div p h1 h2 h3 h4 h5 h6 ul ol li dl dt dd table thead tbody tr th td pre code a em strong "
    "span blockquote br hr figure img details summary del s sub sup "
    "math mrow mi mn mo mtext mspace mstyle mfrac msqrt mroot msub msup msubsup munder mover munderover mtable mtr mtd "
    "mpadded mphantom menclose merror mmultiscripts mprescripts".split()
)
HARMLESS = set(
    "class id title tabindex aria-label scope href rel src alt width height loading open start colspan rowspan display "
    "stretchy fence form accent accentunder maxsize minsize lspace rspace movablelimits mathvariant displaystyle "
    "scriptlevel columnalign columnspacing rowspacing linethickness".split()
)
LINK = re.compile(r"https?://\S+|(?!//)[^\s:\\?#]*([?#]\S*)?")
PICTURE = re.compile(r"data:image/(png|jpeg);base64,[\w+/=\s]+|(?!//)[^\s:\\?#]*")


class Look(HTMLParser):
    """Parser of a page's body: `live` lists what is not known to be harmless (elements, attributes, comments), `cells`
    is the text of each table cell, `text` the whole text."""

    def __init__(self, page: str):
        super().__init__()
        self.live: list[str] = []
        self.cells: list[str] = []
        self.text, self.open = "", False
        self.head, _, body = page.partition("<body>")
        self.feed(body)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ELEMENTS:
            self.live.append(f"<{tag}>")
        for name, value in attrs:
            good = {"href": LINK, "src": PICTURE}.get(name)
            if name not in HARMLESS or (good and not good.fullmatch(value or "")):
                self.live.append(f"<{tag} {name}={value!r}>")
        if tag in ("td", "th"):
            self.cells.append("")
        self.open = tag in ("td", "th") or self.open

    def handle_endtag(self, tag: str) -> None:
        self.open = self.open and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open:
            self.cells[-1] += data

    def handle_comment(self, data: str) -> None:
        self.live.append(f"<!--{data}-->")

    handle_decl = handle_pi = unknown_decl = handle_comment


def plain(text: str) -> str:
    """A text as a browser shows it, with runs of whitespace collapsed."""
    return " ".join(text.split())
