from __future__ import annotations

import pytest

from tools.site_hooks import foreign


@pytest.mark.parametrize(
    "text",
    [
        '<script src="https://cdn.example/a.js"></script>',
        "<script defer src=//cdn.example/a.js></script>",
        '<img alt="x" src="http://img.example/a.png">',
        '<link rel="stylesheet" href="https://fonts.example/css">',
        '<link href="https://fonts.example" rel="preconnect">',
        "@font-face{src:url(https://fonts.example/a.woff2)}",
        '@import "https://fonts.example/css"',
    ],
)
def test_what_is_loaded_from_other_hosts_is_found(text: str) -> None:
    assert len(foreign(text)) == 1


@pytest.mark.parametrize(
    "text",
    [
        '<a href="https://example.org">a page</a>',
        '<script src="assets/a.js"></script>',
        '<link rel="canonical" href="https://example.org/">',
        '<svg xmlns="http://www.w3.org/2000/svg"/>',
        "a{background:url(data:image/png;base64,AA)}",
    ],
)
def test_links_and_own_files_are_none(text: str) -> None:
    assert foreign(text) == []
