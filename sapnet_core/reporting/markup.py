"""Render pages from the templates beside this module: values are escaped, and the finished body is sanitized."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from sapnet_core.reporting.sanitize import policy, sanitized

__all__ = ["PAGE_DATA", "STYLE", "page", "render"]

PAGE_DATA = ("reporting/page.css", "reporting/templates/*")  # package files that affect pages alone

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
    """Render the template "NAME.html.jinja" with these values; text is escaped, `Markup` is inserted as it is."""
    return Markup(_environment().get_template(f"{template}.html.jinja").render(values))


def page(title: str, body: str, style: str = "", made_from: str = "") -> str:
    """Return a whole HTML document that embeds its style and whose body is sanitized (`sanitize`).

    Args:
        body: HTML.
        style: CSS that is appended to `STYLE`.
        made_from: a digest of the page's sources, kept in its head.
    """
    style = f"\n{STYLE}{style}"
    head = {"policy": Markup(policy(style)), "style": Markup(style), "made_from": made_from}
    return str(render("page", title=title, body=Markup(sanitized(body)), **head)) + "\n"
