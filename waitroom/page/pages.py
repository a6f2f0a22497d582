"""The waiting page, from its files.

One document with everything in it: the style and the script are inlined, and their hashes make the
Content-Security-Policy. Files are read when `Pages` is made; rendering reads no clock and does no I/O.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template, TemplateError, TemplateNotFound
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from waitroom.errors import SettingsError, WaitroomError
from waitroom.page.messages import LANGUAGE, Messages, as_html, catalogue, merged
from waitroom.page.policy import STRICTEST, hash_of, policy_of
from waitroom.page.prepared import Gap, Prepared, mark
from waitroom.page.scenes import Scene, room_data, texts, trials, view, visitor_members

_PACKAGE = Path(__file__).parents[1]
SHIPPED = (_PACKAGE / "templates", _PACKAGE.parent / "templates")
"""Where the shipped files may be: inside the wheel, or beside the package in a checkout."""


MOST_SHAPES = 64
"""Kinds of pages that are kept prepared: of a page's size each, some 2 MB in all."""

MEASURED = ("number", "figure")
"""Gaps whose length the template asks for, to set long ones in smaller type."""

Shape = tuple[Any, ...]
"""All that makes two visitors' pages differ in more than what is filled in."""


def _shape(scene: Scene, shown: Mapping[str, str]) -> Shape:
    place = scene.place
    described = scene.kind, place.number is None, place.ahead == 0, scene.missed, place.pace
    return *described, scene.epoch, scene.base, scene.facts, len(shown["number"]), len(shown["figure"])


class _LooksError(Exception):
    """A template goes by what is to be filled in."""


class _Form:
    """The pages of one shape: rendered once, filled in for each visitor.

    Raises _LooksError where the template does more with a gap than print it.
    """

    def __init__(self, template: Template, scene: Scene, messages: Messages) -> None:
        shown = texts(scene, messages)
        marks = {
            name: mark(at, len(text) if name in MEASURED else 1)
            for at, (name, text) in enumerate(shown.items())
            if text or name not in MEASURED  # of those that are measured the shape tells which are empty
        }
        gaps = {name: Gap(text, has_length=name in MEASURED) for name, text in marks.items()}
        data = mark(len(shown))
        try:
            page = template.render(view(scene, messages, {**shown, **gaps}, data))
        except (TemplateError, LookupError, TypeError, ValueError, AttributeError) as wrong:
            raise _LooksError from wrong
        if any(gap.is_looked_at for gap in gaps.values()):
            raise _LooksError
        # As `tojson` writes the one and the other.
        written, told = htmlsafe_json_dumps(data), htmlsafe_json_dumps(room_data(scene, messages))
        page = page.replace(written, f"{{{data}, {told[1:]}")
        self._prepared = Prepared(page, {**marks, "data": data})

    def fill(self, scene: Scene, shown: Mapping[str, str]) -> bytes:
        return self._prepared.fill({**shown, "data": visitor_members(scene)})


class Pages:
    """Renders the page a visitor meets instead of the site.

    Files in the folder `overrides` win over the shipped ones of the same name; messages one by one. Raises
    SettingsError where one of them cannot be used: every kind of page is tried before the first visitor is.
    """

    csp: str
    """The Content-Security-Policy under which every page runs."""
    busy: bytes
    """The page where a process has more to do than it can: short, and the same for everyone."""
    busy_unsent: bytes
    """The same for who has sent something, which would not be sent again."""
    busy_csp: str
    """The Content-Security-Policy of that page, which has a style and no script."""

    def __init__(self, overrides: Path | None = None) -> None:
        shipped = self._shipped = _shipped()
        self._files = Environment(
            loader=FileSystemLoader([folder for folder in (overrides, shipped) if folder]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._files.policies["json.dumps_kwargs"] = {}  # members in the order in which `_Form` writes them
        self._shapes: dict[Shape, _Form] | None = {}
        self._unnumbered: tuple[Scene | None, bytes] = None, b""
        try:
            css, js = self._inline("waiting.css", "style"), self._inline("waiting.js", "script")
            checking = self._inline("checking.js", "script")
            self._messages = merged(
                catalogue((shipped / f"messages.{LANGUAGE}.json").read_text("utf-8")),
                catalogue(self._source(f"messages.{LANGUAGE}.json")[0]),
            )
            self._html = as_html(self._messages)
            self._files.globals |= {"css": Markup(css), "js": Markup(js), "checking": Markup(checking)}  # noqa: S704  # the operator's own files
            self._template = self._files.get_template("waiting.html")
            self.csp = policy_of(css, js, checking)
            busy_css = self._inline("busy.css", "style")
            self._busy_style = Markup(busy_css)  # noqa: S704  # as above
            self.busy_csp = f"{STRICTEST}; style-src {hash_of(busy_css)}; base-uri 'none'; form-action 'none'"
            self.busy, self.busy_unsent = map(self._render_busy, (False, True))
            self._unsent = self._files.get_template("unsent.html")
            self.unsent("/")
            for scene in trials():
                self._try(scene)
            if self._shapes:
                self._shapes = {}  # those of the trials are no visitor's
        except TemplateNotFound as missing:
            raise _broken(f"{missing.name} is not among the page's files", overrides, shipped) from None
        except (TemplateError, LookupError, TypeError, ValueError, AttributeError, OSError) as wrong:
            raise _broken(_line(wrong), overrides, shipped) from wrong

    def render(self, scene: Scene) -> bytes:
        """Write one page as UTF-8 HTML, complete in itself."""
        if scene.place.number is not None:
            return self._write(scene)
        # The same for all who come without a number, until the store is read again.
        if scene != self._unnumbered[0]:
            self._unnumbered = scene, self._write(scene)
        return self._unnumbered[1]

    def _write(self, scene: Scene) -> bytes:
        if self._shapes is None:
            return self._render(scene)
        shown = texts(scene, self._html)
        shape = _shape(scene, shown)
        made = self._shapes.get(shape)
        if made is None:
            if len(self._shapes) >= MOST_SHAPES:
                del self._shapes[next(iter(self._shapes))]
            try:
                made = self._shapes[shape] = _Form(self._template, scene, self._messages)
            except _LooksError:
                self._shapes = None  # an operator's own: from now on every page is rendered for itself
                return self._render(scene)
        return made.fill(scene, shown)

    def _render(self, scene: Scene) -> bytes:
        shown = texts(scene, self._messages)
        data = {**json.loads(f"{{{visitor_members(scene)}}}"), **room_data(scene, self._messages)}
        return self._template.render(view(scene, self._messages, shown, data)).encode()

    def _try(self, scene: Scene) -> None:
        """Render a page; where filling it in comes to something else, none is filled in from now on."""
        if self.render(scene) != self._render(scene):
            self._shapes = None

    def unsent(self, back: str) -> bytes:
        """Write the page that page libraries load after something was not sent; it leads back to a page of the site."""
        return self._unsent.render(self._brief(), back=back).encode()

    def _render_busy(self, unsent: bool) -> bytes:
        return self._files.get_template("busy.html").render(self._brief(), unsent=unsent).encode()

    def _brief(self) -> dict[str, Any]:
        return {"lang": self._messages["lang"], "t": self._messages["page"], "css": self._busy_style}

    def _source(self, name: str) -> tuple[str, bool]:
        """Read a file; tells whether it is the shipped one."""
        loader = self._files.loader
        assert loader is not None  # noqa: S101  # it was given just above
        text, path, _ = loader.get_source(self._files, name)
        return text, path is not None and Path(path).parent == self._shipped

    def _inline(self, name: str, element: str) -> str:
        text, is_shipped = self._source(name)
        if f"</{element}" in text.lower():
            raise ValueError(f"{name} contains </{element}, which would end the element it is put into")
        if element == "style" or not is_shipped:
            return text  # in an operator's own script such a line may be part of what it says
        # Comments are for those who read the file: every visitor loads the page.
        return re.sub(r"^ *//.*\n", "", text, flags=re.MULTILINE)


def _shipped() -> Path:
    for folder in SHIPPED:
        if (folder / "waiting.html").is_file():
            return folder
    looked = " or ".join(map(str, SHIPPED))
    raise WaitroomError(f"waiting.html is missing: it is not in {looked}; install waitroom again")


def _broken(what: str, overrides: Path | None, shipped: Path) -> WaitroomError:
    if overrides is None:
        return WaitroomError(f"the page in {shipped} cannot be used: {what}; install waitroom again")
    return SettingsError(
        f"WAITROOM_TEMPLATES={str(overrides)!r} cannot be used: {what}; "
        f"correct the file, or remove it to use the shipped one in {shipped}"
    )


def _line(wrong: Exception) -> str:
    where = (
        f"{getattr(wrong, 'name', None) or 'a file'} line {wrong.lineno}: "
        if hasattr(wrong, "lineno")
        else ""
    )
    return where + " ".join(f"{type(wrong).__name__}: {wrong}".split())
