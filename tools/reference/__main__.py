"""Write the reference pages; see `tools.reference`."""

from __future__ import annotations

from tools.reference.pages import PAGES, path_of

for name, page in PAGES.items():
    path_of(name).write_text(page(), encoding="utf-8")
