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
            for width in WIDTHS:
                for role in ("clinician", "administrator", "auditor"):
                    page = browser.new_page(viewport={"width": width, "height": HEIGHT})
                    page.set_default_timeout(serving.PATIENCE)
                    for stop in tour.visit(page, address, role):
                        if stop.name in ONLY.get(role, (stop.name,)):
                            _keep(page, stop, folder / f"{stop.name}-{width}.png")
                            bar.update()
                    page.close()
        browser.close()


def _keep(page, stop: tour.Stop, path: Path) -> None:
    tour.show(page, stop)
    page.screenshot(path=path, animations="disabled")
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
