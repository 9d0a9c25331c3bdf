"""Make the pictures of every page at two widths: `python -m tests.browser.pictures [FOLDER]`.

The shipped pair on the sample, so `make run` must have been there once. 820 pixels: a tablet.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright
from tqdm import tqdm

from tests.browser import serving, tour

WIDTHS = (1280, 820)
HEIGHT = 800
COLOURS = 128  # a page has few; a picture stays well under 200 KB
ONLY = {"administrator": ("data", "retrain"), "auditor": ("audit",)}  # the rest the clinician shows


def main(folder: Path = serving.ROOT / "docs" / "images") -> None:
    """Write `NAME-WIDTH.png` of every page into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    sample = serving.ROOT / "data" / "sample"
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=serving.CHROMIUM, args=serving.ARGUMENTS
        )
        with serving.served(sample, "", Path(data)) as address, tqdm(unit="picture") as bar:
            for role in ("clinician", "administrator", "auditor"):
                page = browser.new_page(viewport={"width": WIDTHS[0], "height": HEIGHT})
                page.set_default_timeout(serving.PATIENCE)
                for stop in tour.visit(page, address, role):
                    if stop.name in ONLY.get(role, (stop.name,)):
                        _keep(page, stop, folder)
                        bar.update()
                page.close()
        browser.close()


def _keep(page, stop: tour.Stop, folder: Path) -> None:
    for width in reversed(WIDTHS):  # the widest last, in which the tour goes on
        page.set_viewport_size({"width": width, "height": HEIGHT})
        page.wait_for_timeout(600)  # charts and tables take up their new width
        tour.show(page, stop)
        path = folder / f"{stop.name}-{width}.png"
        page.screenshot(path=path, animations="disabled")
        with Image.open(path) as picture:
            small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(path, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
