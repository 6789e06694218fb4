"""The page in Chromium without a network, at the width of a phone and of a screen."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr", "--v=0"),
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
PROBE = """
<!doctype html><title>probe</title><body style="margin:0"><iframe style="border:0;width:{width}px;height:6000px"
srcdoc="{page}"></iframe><script>
addEventListener("load", () => {{
  const inside = document.querySelector("iframe").contentDocument, root = inside.documentElement;
  const images = [...inside.images].map(i => [i.complete && i.naturalWidth > 0, i.getBoundingClientRect().width]);
  const out = document.createElement("output");
  out.textContent = JSON.stringify({{scroll: root.scrollWidth, width: root.clientWidth, images,
    font: parseFloat(inside.defaultView.getComputedStyle(inside.body).fontSize),
    dark: inside.defaultView.getComputedStyle(root).colorScheme}});
  document.body.append(out);
}});
</script>
"""


@pytest.fixture(scope="module", params=[390, 1440])
def shown(request, report, tmp_path_factory):
    """(width, what the page measures, lines of the console, screenshot). A window cannot be as narrow as a phone: the
    page lies in a frame that is."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    folder, width = tmp_path_factory.mktemp("browser"), request.param
    host, picture = folder / "host.html", folder / "page.png"
    host.write_text(PROBE.format(width=width, page=html.escape(report.read_text())))
    places = (f"--user-data-dir={folder / 'profile'}", f"--screenshot={picture}", f"--window-size={width},6000")
    command = [CHROMIUM, *FLAGS, *places, "--dump-dom", host.as_uri()]
    found = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr[-2000:]
    probe = json.loads(html.unescape(re.search(r"<output>(.*?)</output>", found.stdout, re.S)[1]))
    console = [line for line in found.stderr.splitlines() if "CONSOLE" in line]
    return width, probe, console, np.asarray(Image.open(picture).convert("L"))


def test_no_console_error(shown):
    assert shown[2] == []


def test_it_fits_the_width(shown):
    width, probe, _, _ = shown
    assert probe["scroll"] <= probe["width"] <= width
    assert all(image_width <= width for _, image_width in probe["images"])
    assert probe["font"] >= 16 and probe["dark"] == "light dark"


def test_plots_and_pictures_are_there(shown):
    _, probe, _, picture = shown
    loaded = [ok for ok, _ in probe["images"]]
    assert len(loaded) > 8 and all(loaded)
    plots = [image_width for _, image_width in probe["images"] if image_width > 250]
    assert len(plots) == 8  # policies, mix, calibration, five of training
    assert picture.shape[0] == 6000 and (picture < 128).mean() > 0.01  # ink, not a blank page
