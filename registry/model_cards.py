"""Model cards are Markdown written by anybody. Here they become HTML that can do no harm."""

from __future__ import annotations

import re

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

# Hugging Face's cards begin with facts in YAML, which are no text.
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.S)
_MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])
# Pictures lie elsewhere: loading them would tell somebody who is looking at the card.
_TAGS = nh3.ALLOWED_TAGS - {"img", "picture", "source", "map", "area"}


def to_html(card: str) -> SafeString:
    """The card as HTML without scripts, styles, pictures and forms."""
    text = _FRONT_MATTER.sub("", card.replace("\r\n", "\n"))
    tokens = _MARKDOWN.parse(text)
    for token in tokens:
        if token.type in ("heading_open", "heading_close"):
            # It stands below a heading of the page, which is below the page's own.
            token.tag = f"h{min(int(token.tag[1]) + 2, 6)}"
    html = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    return mark_safe(nh3.clean(html, tags=_TAGS, url_schemes={"http", "https", "mailto"}))
