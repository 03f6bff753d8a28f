"""Hooks of mkdocs: refuse a site that loads anything from elsewhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

_LOADED = re.compile(
    r"""<(?:script|img|iframe|source|video|audio|embed|object)\b[^>]*?\b(?:src|srcset|data|poster)=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|<link\b(?=[^>]*\brel=["']?(?:stylesheet|preload|modulepreload|preconnect|icon|prefetch))[^>]*?\bhref=["']?(?:https?:)?//[^"'\s>]+"""
    r"""|url\(["']?(?:https?:)?//[^)]+|@import\s+["'](?:https?:)?//[^"']+""",
    re.IGNORECASE,
)


def foreign(text: str) -> list[str]:
    """Return what a page or style sheet loads from other hosts.

    Links that a reader may follow are none.
    """
    return _LOADED.findall(text)


def on_post_build(config: Any) -> None:
    """Check a built site.

    Raises `PluginError` where a page, style sheet or drawing loads something from another host.
    """
    from mkdocs.exceptions import PluginError  # of the dependency group docs

    site = Path(config.site_dir)
    found = {
        str(file.relative_to(site)): urls
        for file in sorted(site.rglob("*"))
        if file.suffix in {".html", ".css", ".svg"} and (urls := foreign(file.read_text(encoding="utf-8")))
    }
    if found:
        raise PluginError(f"the site would load from other hosts: {found}")
