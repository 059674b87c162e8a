"""Convert LaTeX to MathML, which browsers draw without network or script."""

import html
import re
from xml.etree import ElementTree

__all__ = ["LEFT_OVER", "mathml"]

LEFT_OVER = "tex"  # CSS class of an equation that could not be converted and is shown as it was typed

# LaTeX that latex2mathml does not know or converts wrongly -> an equivalent that it converts
SPELLINGS = (
    (re.compile(r"(\\[bB]igg?[lrm]?)\s*\\(?:[lr]Vert|\|)"), r"\1‖"),
    (re.compile(r"(\\[bB]igg?[lrm]?)\s*\\(?:[lr]vert)"), r"\1|"),
    (re.compile(r"\\arg\s*(?=\\(?:max|min)(?![A-Za-z]))"), r"\\operatorname{arg}\\,"),
    (re.compile(r"\\(begin|end)\{aligned\}"), r"\\\1{align*}"),
    (re.compile(r"\\(math(?:cal|bb|bf|rm))\s*([A-Za-z0-9])"), r"\\\1{\2}"),
    (re.compile(r"\\mathrm\{([A-Za-z0-9 -]+)\}"), r"\\text{\1}"),
)
TAG = re.compile(r"\\tag\{([^{}]*)\}|\\qquad\s*\(([^()$]{1,12})\)\s*$")  # the equation's number, shown at the right
SPACE = "http://www.w3.org/1998/Math/MathML"
LIMITS = {"msub": "munder", "msup": "mover", "msubsup": "munderover"}  # where a displayed formula has its limits


def mathml(tex: str, block: bool = False) -> str:
    """Convert one formula, given without its dollar signs, to an HTML fragment that may stand in a paragraph.

    A formula that cannot be converted comes back as typed, in `<code class="tex">`. `block` displays the formula on a
    line of its own, with its number.
    """
    from latex2mathml.converter import convert

    tex, number = tex.strip(), ""
    if block and (tag := TAG.search(tex)):
        number = f'<span class="number">({html.escape(tag[1] or tag[2])})</span>'
        tex = (tex[: tag.start()] + tex[tag.end() :]).strip()
    for pattern, other in SPELLINGS:
        tex = pattern.sub(other, tex)
    try:
        made = convert(tex, display="block" if block else "inline")
        if re.search(r">[^<]*\\[^<]*<", made):
            raise ValueError("a command is left over")
        made = _drawable(re.sub(r"&(?!#\w+;|\w+;)", "&amp;", made), block)
    except Exception:  # the library raises many errors of its own, or writes invalid XML
        return f'<code class="{LEFT_OVER}">{html.escape(tex)}</code>'
    return f'<span class="equation">{made}{number}</span>' if block else made


def _drawable(made: str, block: bool) -> str:
    """Adapt MathML to what browsers draw: characters instead of `mathvariant`, braces that stretch, and limits below
    max and min."""
    ElementTree.register_namespace("", SPACE)
    tree = ElementTree.fromstring(made)
    for node in tree.iter():
        kind, text = node.tag.rpartition("}")[2], node.text or ""
        if node.get("mathvariant") == "double-struck" and text.isdigit():
            node.text = "".join(chr(0x1D7D8 + int(digit)) for digit in text)
            del node.attrib["mathvariant"]
        elif kind == "mo" and text in ("\u23de", "\u23df"):
            node.set("stretchy", "true")
        elif kind == "mo" and text == "^":
            node.text = "\u02c6"  # the accent, which is drawn smaller
        elif block and kind in LIMITS and len(node) and node[0].text in ("max", "min"):
            node.tag = f"{{{SPACE}}}{LIMITS[kind]}"
    return ElementTree.tostring(tree, encoding="unicode")
