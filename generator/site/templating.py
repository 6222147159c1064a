"""The Jinja2 side: bodies of pages from templates, everything escaped unless a filter here says otherwise."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from generator.site.settings import TEMPLATES
from generator.site.text import clean, one_line, plain, shorten, web_address

# The longest text shown on a page; the rest stands in the JSON beside it. Random text of this length stays
# far below the 300 KB that a page may have.
LONGEST = 20_000


@dataclass(frozen=True, slots=True)
class Place:
    """The page that is being rendered. `address_of` turns a page name into its address below the site's root,
    `here` is this page's own; both as the builder writes them (`a/b.html`, or `a/b/`)."""

    here: str
    address_of: Callable[[str], str]

    def page(self, name: str) -> str:
        return self.file(self.address_of(name))

    def file(self, address: str) -> str:
        """The way from here to an address below the site's root."""
        return way(self.here, address)


def way(here: str, there: str) -> str:
    """The relative address that leads from one address to another, both below the site's root."""
    relative = posixpath.relpath(there or ".", posixpath.dirname(here) or ".")
    return f"{relative}/" if there.endswith("/") else relative


class Templates:
    """The bodies of pages. Rendering is pure: equal arguments give equal text."""

    def __init__(self) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=False,
        )
        self._environment.filters |= {
            "clean": lambda text: clean(str(text)),
            "plain": lambda text: plain(str(text)),
            "short": lambda text, length: shorten(one_line(str(text)), length),
            "breakable": breakable,
            "within": within,
            "web_address": web_address,
            "command": command_html,
            "number": lambda value: f"{value:,}",
            "plural": plural,
        }

    def render(self, template: str, **context: Any) -> str:
        return self._environment.get_template(f"{template}.html.jinja").render(context)


def breakable(name: str) -> Markup:
    """A long name may go on in the next line after each underscore or dot."""
    return Markup(re.sub(r"([_.]+)", r"\1<wbr>", str(escape(name))))  # noqa: S704 # escaped before


def within(text: str) -> str:
    """As much of a text as a page shows, the cut said in words."""
    text = clean(str(text))
    if len(text) <= LONGEST:
        return text
    return f"{shorten(text, LONGEST)}\n\n[{len(text) - LONGEST:,} more characters in the JSON of this page]"


def plural(count: int, one: str, many: str | None = None) -> str:
    """`1 task`, `1,234 tasks`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


# Every repetition is bounded: text from an image must not choose how long this takes.
_COMMAND = re.compile(
    r"(?P<jinja>\{\{.{0,400}?\}\}|\{%.{0,400}?%\}|\{#.{0,400}?#\})"
    r"|(?P<option>(?<![^\s])--?[A-Za-z][\w.-]{0,80})"
    r"|(?P<variable>\$\{?\w{1,80}\}?)"
    r"|(?P<operator>&&|\|\|?|;|>>?)",
    re.DOTALL,
)


def command_html(text: str) -> Markup:
    """A shell command, or the template of one, with its parts marked. A few microseconds, where a full
    highlighter takes five milliseconds: there is one of these for each task."""
    text = within(text)
    pieces: list[str] = []
    end = 0
    for match in _COMMAND.finditer(text):
        pieces.append(str(escape(text[end : match.start()])))
        pieces.append(f'<span class="ed-{match.lastgroup}">{escape(match.group())}</span>')
        end = match.end()
    pieces.append(str(escape(text[end:])))
    return Markup("".join(pieces))  # noqa: S704 # every piece was escaped above
