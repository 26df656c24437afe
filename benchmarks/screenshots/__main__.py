"""``make screenshots``: every page with its sample rows, at 390 and 1440 pixels, a few also dark.

Into docs/images/pages, as PNG of few colours: each some tens of kilobytes. After
``python -m benchmarks.screenshots`` some pages alone may be named, as in the URL configuration.
"""

from __future__ import annotations

import io
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Literal

import django
from PIL import Image
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.conftest import ROOT, Site

TARGET = ROOT / "docs" / "images" / "pages"
WIDTHS = (390, 1440)
COLOURS = 64
Scheme = Literal["light", "dark"]
# Long pages say nothing new further down.
TALLEST = {390: 1800, 1440: 1300}
# Shown in the dark, too.
DARK = (
    "home",
    "job",
    "draft-step",
    "generation",
    "models",
    "model-new",
    "model-upload",
    "dataset-new",
)


def main(*names: str) -> None:
    chromium = shutil.which("chromium")
    if chromium is None:
        raise SystemExit("There is no chromium on this machine.")
    home = Path(tempfile.mkdtemp(prefix="trainyard-screenshots-"))
    os.environ |= {"DJANGO_SETTINGS_MODULE": "trainyard.settings", "TRAINYARD_HOME": str(home)}
    django.setup()
    from tests.e2e import samples

    site = Site(home, os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/9"))
    try:
        site.do(str)
        site.start()
        pages = site.do(samples.pages)
        if names:
            pages = {name: pages[name] for name in names}
        else:
            shutil.rmtree(TARGET, ignore_errors=True)
        TARGET.mkdir(parents=True, exist_ok=True)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=chromium, args=["--no-sandbox", "--disable-gpu"]
            )
            for width in WIDTHS:
                shoot(browser, site, pages, width, "light")
                shoot(browser, site, pages, width, "dark")
            browser.close()
    finally:
        site.close()
        shutil.rmtree(home, ignore_errors=True)
    files = list(TARGET.iterdir())
    size = sum(file.stat().st_size for file in files)
    print(f"{len(files)} pictures, {size / 1e6:.1f} MB, in {TARGET}")


def shoot(
    browser: Browser,
    site: Site,
    pages: dict[str, list[str]],
    width: int,
    scheme: Literal["light", "dark"],
) -> None:
    context = browser.new_context(
        base_url=site.address, viewport={"width": width, "height": 900}, color_scheme=scheme
    )
    page = context.new_page()
    for name, addresses in sorted(pages.items()):
        if scheme == "dark" and name not in DARK:
            continue
        for number, address in enumerate(addresses, start=1):
            page.goto(address)
            page.wait_for_load_state("networkidle")  # parts that come after the page
            page.evaluate("document.fonts.ready")
            height = min(page.evaluate("document.documentElement.scrollHeight"), TALLEST[width])
            picture = page.screenshot(
                clip={"x": 0, "y": 0, "width": width, "height": height},
                full_page=True,
                animations="disabled",
            )
            suffix = "" if len(addresses) == 1 else f"-{number}"
            save(picture, TARGET / f"{name}{suffix}-{width}{'-dark' * (scheme == 'dark')}.png")
    context.close()


def save(picture: bytes, path: Path) -> None:
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.quantize(COLOURS, kmeans=1, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
