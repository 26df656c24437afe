"""What is true of every page: parse it, look at its outline and at where it loads things from."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

# Elements that have no end tag (HTML standard §13.1.2).
_VOID = {
    "area",
    "base",
    "br",
    "col",
    "embed",
    "hr",
    "img",
    "input",
    "link",
    "meta",
    "source",
    "wbr",
}


class Page(HTMLParser):
    """Raises AssertionError for a tag that is closed in the wrong place."""

    def __init__(self, response: Any) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(response.content.decode())
        assert self._open == [], f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in _VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        opened = self._open.pop()
        assert opened == tag, f"<{opened}> is closed by </{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if not self._open or self._open[-1] not in ("script", "style"):
            self.text += data + " "

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    @property
    def words(self) -> str:
        """Its text with single spaces."""
        return " ".join(self.text.split())

    def forms_to(self, address: str) -> list[dict[str, str | None]]:
        return [form for form in self.all("form") if form.get("action") == address]

    def check_outline(self) -> None:
        """One <h1>, a way to skip to the content, every field labelled, every id once, and
        nothing loaded from elsewhere."""
        assert len(self.all("h1")) == 1
        assert len(self.all("main")) == 1
        ids = [str(attrs["id"]) for _, attrs in self.tags if "id" in attrs]
        assert len(ids) == len(set(ids)), sorted(i for i in ids if ids.count(i) > 1)
        labelled = {label.get("for") for label in self.all("label")}
        for field in [*self.all("input"), *self.all("select")]:
            if field.get("type") not in ("hidden", "checkbox"):  # a checkbox sits in its label
                assert field.get("id") in labelled, field
        for tag, attrs in self.tags:
            address = attrs.get("src") or (attrs.get("href") if tag == "link" else None) or "/"
            assert re.match(r"/(?!/)", address), f"<{tag}> loads {address}"
        assert len(self.all("caption")) == len(self.all("table"))
