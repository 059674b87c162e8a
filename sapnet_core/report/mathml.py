"""LaTeX as MathML, which browsers draw by themselves: equations without a network or a script."""

import html
import re

__all__ = ["LEFT_OVER", "mathml"]

LEFT_OVER = "tex"  # class of an equation that could not be converted and is shown as it was typed

# what latex2mathml does not know or gets wrong -> the same, said otherwise
SPELLINGS = (
    (re.compile(r"(\\[bB]igg?[lrm]?)\s*\\(?:[lr]Vert|\|)"), r"\1‖"),
    (re.compile(r"(\\[bB]igg?[lrm]?)\s*\\(?:[lr]vert)"), r"\1|"),
    (re.compile(r"\\arg\s*(?=\\(?:max|min)\b)"), r"\\operatorname{arg}\\,"),
    (re.compile(r"\\(begin|end)\{aligned\}"), r"\\\1{align*}"),
)
TAG = re.compile(r"\\tag\{([^{}]*)\}|\\qquad\s*\(([^()$]{1,12})\)\s*$")  # the equation's number, to stand at the right
DOUBLE_STRUCK = re.compile(r'<mn mathvariant="double-struck">(\d)</mn>')


def mathml(tex: str, block: bool = False) -> str:
    """One formula, without its dollar signs, as an HTML fragment that may stand in a paragraph.

    What cannot be converted comes back as typed, in `<code class="tex">`.
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
    except Exception:  # the library raises a dozen kinds of its own
        made = ""
    if not made or re.search(r">[^<]*\\[^<]*<", made):
        return f'<code class="{LEFT_OVER}">{html.escape(tex)}</code>'
    made = re.sub(r"&(?!#\w+;|\w+;)", "&amp;", made)
    made = DOUBLE_STRUCK.sub(lambda m: f"<mn>{chr(0x1D7D8 + int(m[1]))}</mn>", made)
    made = made.replace("<mo>&#x23DF;</mo>", '<mo stretchy="true">&#x23DF;</mo>')
    return f'<span class="equation">{made}{number}</span>' if block else made
