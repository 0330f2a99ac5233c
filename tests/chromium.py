"""A real browser for pages: Debian's Chromium, driven by Playwright.

A pytest plugin: `chromium` (one a session and worker) is the browser, and `opened` opens a page in
it, which must load nothing, log nothing and fail nowhere. Without Chromium the tests that ask for
it are skipped; in CI they fail.
"""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser")

Opened = Callable[..., Page]


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Debian's Chromium, without a window."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        reason = "there is no chromium: apt-get install chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(f"the page in a browser is NOT tested: {reason}")
    # Chromium has no sandbox for root, and opens only what tests wrote.
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser, tmp_path: Path) -> Iterator[Opened]:
    """Open a page's text at a width; at the end of the test nothing may have gone wrong in it."""
    faults: list[str] = []
    pages: list[Page] = []

    def opening(text: str, width: int = 1280, **options: Any) -> Page:
        file = tmp_path / f"page-{len(pages)}.html"
        file.write_text(text)
        page = chromium.new_page(viewport={"width": width, "height": 900}, **options)
        pages.append(page)
        page.on("console", lambda message: faults.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: faults.append(f"error: {error}"))
        page.on(
            "request",
            lambda request: (
                None if request.url == file.as_uri() else faults.append(f"request: {request.url}")
            ),
        )
        page.goto(file.as_uri())
        return page

    yield opening
    for page in pages:
        page.close()
    assert not faults
