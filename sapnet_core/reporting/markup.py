"""Pages from the templates beside this module: what is put into one is text, and what could act is taken off."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sapnet_core.reporting.sanitize import policy, sanitized

__all__ = ["PAGE_DATA", "STYLE", "page", "render"]

PAGE_DATA = ("reporting/page.css", "reporting/templates/*")  # files that shape pages and nothing else

STYLE = Path(__file__).with_name("page.css").read_text(encoding="utf-8")
TEMPLATES = Path(__file__).with_name("templates")


@cache
def _environment() -> Environment:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def render(template: str, **values: object) -> Markup:
    """The template "NAME.html.jinja" with these values; text among them is escaped, `Markup` stands as it is."""
    return Markup(_environment().get_template(f"{template}.html.jinja").render(values))


def page(title: str, body: str, style: str = "", made_from: str = "") -> str:
    """A whole document: its style within, nothing outside it, and nothing in its body that acts (`sanitize`).

    Args:
        body: HTML.
        style: CSS that follows that of all pages.
        made_from: a digest of what the page was made from, kept in its head.
    """
    style = f"\n{STYLE}{style}"
    head = {"policy": Markup(policy(style)), "style": Markup(style), "made_from": made_from}
    return str(render("page", title=title, body=Markup(sanitized(body)), **head)) + "\n"
