"""The pages in a real browser: nothing fails, nothing is fetched, and they fit a phone, in light and in dark."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from genseg_betty.reporting import build_report
from reporting.pictured import add_pictures

MakeRun = Callable[..., Path]
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
PHONE = {"width": 390, "height": 844}
# What juts out of the window and cannot be scrolled to within its own box.
JUTTING = """() => [...document.querySelectorAll("body *")]
    .filter(element => element.getBoundingClientRect().right > innerWidth + 1)
    .filter(element => !element.closest(".scroll, pre"))
    .map(element => element.outerHTML.slice(0, 80))"""
# Cells with a single short word that stands in several lines.
BROKEN_WORDS = """() => [...document.querySelectorAll("td")]
    .filter(cell => !cell.querySelector("img") && /^[\\w.]{1,16}$/.test(cell.textContent))
    .filter(cell => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return new Set([...range.getClientRects()].map(box => box.top)).size > 1;
    })
    .map(cell => cell.textContent)"""
UNFOLD = "document.querySelectorAll('details').forEach(element => element.open = true)"
# Relative luminance of the text and of the paper behind it, and how they contrast (WCAG 2.1).
CONTRAST = """selector => {
    const luminance = colour => {
        const parts = colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255);
        const linear = parts.map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
    };
    const paper = luminance(getComputedStyle(document.body).backgroundColor);
    const ink = luminance(getComputedStyle(document.querySelector(selector)).color);
    return [paper, (Math.max(paper, ink) + 0.05) / (Math.min(paper, ink) + 0.05)];
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="Playwright drives the browser: install genseg-betty[browser]"
    )
    program = next(filter(None, map(shutil.which, BROWSERS)), None)
    if program is None:
        pytest.skip(f"there is no browser here: none of {', '.join(BROWSERS)}")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def pages(make_run: MakeRun, tmp_path: Path) -> list[Path]:
    """Of one Run, and of several with a broken one among them."""
    broken = make_run(name="headless")
    (broken / "config.yaml").write_text("a: [")
    runs = [add_pictures(make_run("vanilla")), add_pictures(make_run("genseg", gain=0.03)), broken]
    with pytest.warns(UserWarning, match="cannot be read"):
        comparison = build_report(runs, tmp_path / "several.html")
    return [build_report(runs[:1], tmp_path / "one.html"), comparison]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_on_a_phone(browser: Any, pages: list[Path], scheme: str) -> None:
    for file in pages:
        page = browser.new_page(viewport=PHONE, color_scheme=scheme)
        told: list[str] = []
        fetched: list[str] = []
        page.on("console", lambda message, told=told: told.append(message.text))
        page.on("pageerror", lambda error, told=told: told.append(str(error)))
        page.on("request", lambda request, fetched=fetched: fetched.append(request.url))
        page.goto(file.as_uri())
        assert page.evaluate("document.querySelectorAll('details[open]').length") == 0  # settings are folded
        folded = page.evaluate("document.documentElement.scrollHeight")
        page.evaluate(UNFOLD)
        assert page.evaluate("document.documentElement.scrollHeight") > folded
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert page.evaluate(JUTTING) == []
        assert page.evaluate(BROKEN_WORDS) == []
        for selector in ("h1", ".lead", ".note", "summary", "th"):
            paper, contrast = page.evaluate(CONTRAST, selector)
            assert contrast >= 4.5, (file.name, selector)
            assert (paper > 0.5) == (scheme == "light")
        assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
        assert told == []
        assert [url for url in fetched if not url.startswith("data:image/")] == [file.as_uri()]
        page.close()
