"""The page in Chromium: the numbers of ``Session``, the budget, the camera, and no request to anybody."""

import functools
import http.server
import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import shared
from browser import CHROMIUM, Browser
from helpers import SUPERNETS, images
from PIL import Image

from ds_keras import detection, export, zoo
from ds_keras.policies.budget_table import Times
from ds_keras.runtime import Session
from tests.detection import scenes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium"),
]
COUNT = 20
NOTES = ("accelerator-note", "error")
INSECURE = "--host-resolver-rules=MAP plain.test 127.0.0.1"
# no relaxed SIMD, as in Safari: the page's own test of it fails
WITHOUT_RELAXED = """{
  const start = WebAssembly.instantiate;
  WebAssembly.instantiate = (what, ...rest) =>
    what.byteLength < 100 ? Promise.reject(new Error("no relaxed SIMD")) : start.call(WebAssembly, what, ...rest);
}"""


@pytest.fixture(scope="module")
def digits(runtime, tmp_path_factory):
    """The page of the digits preset; it offers a picture."""
    folder = tmp_path_factory.mktemp("page")
    Image.fromarray(images(1)[0, ..., 0].astype("uint8")).resize((64, 64)).save(folder / "picture.png")
    bundle, card = zoo.bundle("ds_mobilenet_digits"), zoo.card("ds_mobilenet_digits")
    return export.to_web(bundle, folder / "page.html", runtime, card, [folder / "picture.png"])


@pytest.fixture(scope="module")
def browser(digits):
    """The page, opened from the disk."""
    with Browser() as opened:
        opened.open(digits.as_uri())
        opened.run("dsKeras.then(() => 1)")
        yield opened


def of(browser, expression):
    """An expression of ``c``, the classifier."""
    return browser.run(f"dsKeras.then(async (c) => {expression})")


def routed(browser, x, setting):
    """Logits, levels and madds of images, as ``Session.run`` gives them."""
    script = f"""{{ {setting}; const found = [];
      for (const image of {json.dumps(x.reshape(len(x), -1).tolist())}) {{
        const {{ logits, level, madds }} = await c.run(Float32Array.from(image));
        found.push([[...logits], level, madds]);
      }} return found; }}"""
    return (np.array(part) for part in zip(*of(browser, script), strict=True))


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("name", SUPERNETS)
def test_the_numbers_of_a_session(runtime, tmp_path, name, int8):
    path = zoo.bundle(name, int8)
    session = Session(path, keep=20)
    x = images(COUNT, session.image_shape[0], session.image_shape[2])
    x = np.rint(x) if int8 else x
    page = export.to_web(path, tmp_path / "page.html", runtime)
    with Browser() as browser:
        browser.open(page.as_uri())
        published = {file: entry["sha256"] for file, entry in session.manifest["files"].items()}
        script = """{ const found = {}; for (const name of c.bundle.files) {
          const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", await c.bundle.file(name)));
          found[name] = [...hash].map((b) => b.toString(16).padStart(2, "0")).join(""); } return found; }"""
        assert of(browser, script) == published
        for policy in ("cascade", "gate", 0, session.num_levels - 1):
            logits, levels, madds = routed(browser, x, f"c.setPolicy({json.dumps(policy)})")
            expected = session.run(x, policy=policy)
            np.testing.assert_array_equal(levels, expected.levels, err_msg=f"{policy}")
            np.testing.assert_array_equal(madds, expected.madds)
            # int8: a value that lies between two codes may be rounded to either
            tolerance = 0.05 if int8 else 1e-4
            assert np.abs(logits - expected.logits).max() <= tolerance * max(1, np.abs(expected.logits).max())
        assert browser.requests == [page.as_uri()] and browser.complaints == []


def test_it_opens_with_an_answer(browser):
    label = browser.run("document.getElementById('label').textContent")
    assert label in zoo.load("ds_mobilenet_digits").labels
    about = browser.run("document.getElementById('about').textContent")
    assert all(word in about for word in ("Apache-2.0", "CC BY 4.0", "LiteRT.js", "ds_mobilenet_digits"))


def test_the_slider_moves_the_levels(browser):
    x, means, mixes = images(COUNT, seed=3), [], []
    for place in (0, 250, 500, 1000):
        slide = f"const s = document.getElementById('budget'); s.value = {place}; s.dispatchEvent(new Event('input'))"
        _, levels, madds = routed(browser, x, slide)
        means.append(madds.mean())
        mixes.append(levels.tolist())
        script = "[...document.getElementById('mix-expected').children].map((e) => Number(e.style.flexGrow))"
        assert sum(browser.run(script)) == pytest.approx(1, abs=0.01)
    assert means == sorted(means) and means[0] < means[-1]
    assert len(set(map(tuple, mixes))) > 1 and set(mixes[0]) == {0}


def test_nobody_is_asked_for_anything(browser, digits):
    for address in ("https://example.com/", "http://127.0.0.1:9/"):
        with pytest.raises(RuntimeError, match="Failed to fetch"):
            browser.run(f"fetch({address!r})")
    script = "const s = document.createElement('script'); s.textContent = 'globalThis.ran = 1'; document.head.append(s)"
    browser.run(script)
    assert browser.run("typeof ran") == "undefined"
    assert browser.requests[0] == digits.as_uri()


def test_times_and_the_file_of_figures(browser):
    script = "{ const t = await c.measure(() => {}); return Object.keys(t.times).concat(t.routed.images > 0); }"
    assert of(browser, script) == ["start", "bodies", "judge", "gate", "levels", True]
    browser.run("document.getElementById('measure').click()")
    end = time.monotonic() + 60
    while browser.run("document.getElementById('save').hidden"):
        assert time.monotonic() < end
        time.sleep(0.2)
    catch = "(globalThis.saved = null, URL.createObjectURL = (blob) => (saved = blob, 'blob:none'), 1)"
    browser.run(catch)
    browser.run("document.getElementById('save').click()")
    figures = json.loads(browser.run("saved.text()"))
    assert figures["format"] == "ds_keras.device" and figures["network"] == "ds_mobilenet_digits"
    times = Times(**figures["times"])
    assert len(times.bodies) == 4 and all(ms > 0 for ms in times.bodies)
    assert [row["level"] for row in figures["levels"]] == [0, 1, 2, 3]
    assert figures["routed"]["ms"] > 0 and sum(figures["routed"]["mix"]) == pytest.approx(1)
    assert len(figures["expected"]) == 81


@pytest.fixture(scope="module")
def photos(runtime, tmp_path_factory):
    """The page of the default preset, as ``make web`` has it."""
    folder = tmp_path_factory.mktemp("photos")
    return export.to_web(zoo.bundle("ds_mobilenet"), folder / "page.html", runtime, zoo.card("ds_mobilenet"))


@pytest.mark.parametrize("width", [390, 1440])
@pytest.mark.parametrize("name", ["digits", "photos"])
def test_camera_and_width(request, name, width):
    page = request.getfixturevalue(name)
    with Browser() as browser:
        browser.screen(width, 844, dark=width == 1440)
        browser.open(page.as_uri())
        of(browser, "1")
        assert "This one knows " in browser.run("document.getElementById('intro').textContent")
        browser.run("document.getElementById('camera').click()")
        end = time.monotonic() + 60
        while of(browser, "c.seen.reduce((a, b) => a + b)") < 3:
            assert time.monotonic() < end, browser.run("document.getElementById('error').textContent")
            time.sleep(0.2)
        assert browser.run("document.documentElement.scrollWidth") <= width
        small = (
            "[...document.querySelectorAll('button, select, .button, input[type=range]')].filter((e) => e.offsetHeight"
        )
        assert browser.run(f"{small} && e.offsetHeight < 44).length") == 0
        browser.run("document.getElementById('camera').click()")
        assert not browser.run("document.getElementById('picture').hidden")  # the last frame stays
        assert browser.run("document.getElementById('video').hidden")
        assert browser.complaints == [] and browser.requests == [page.as_uri()]


def choose_graphics(browser):
    """Asks for WebGPU, and gives what the page says of it: a note, or an error."""
    choose = "s.value = 'webgpu'; s.dispatchEvent(new Event('change'))"
    browser.run(f"{{ const s = document.getElementById('accelerator'); {choose} }}")
    end = time.monotonic() + 120
    while True:
        note, error = (browser.run(f"document.getElementById('{name}').textContent") for name in NOTES)
        if "run there" in note or error:
            return note, error
        assert time.monotonic() < end, note
        time.sleep(0.2)


def test_on_a_graphics_processor(digits):
    """The numbers are the processor's, but for rounding."""
    x = images(COUNT)
    with Browser(gpu=True) as browser:
        browser.open(digits.as_uri())
        of(browser, "1")
        if not browser.run("navigator.gpu?.requestAdapter().then((adapter) => adapter !== null)"):
            pytest.skip("needs a Chromium with SwiftShader")
        expected = list(routed(browser, x, "1"))
        assert choose_graphics(browser) == ("3 of 3 networks run there, in float32.", "")
        for found, wanted in zip(routed(browser, x, "1"), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-3)
        assert of(browser, "c.networks.accelerator") == "webgpu"
        assert browser.requests == [digits.as_uri()]


def test_without_a_graphics_processor(digits):
    with Browser() as browser:
        browser.open(digits.as_uri())
        of(browser, "1")
        assert "no graphics processor" in choose_graphics(browser)[1]
        assert browser.run("document.getElementById('accelerator').value") == "wasm"
        assert len(list(routed(browser, images(1), "1"))) == 3


@pytest.mark.parametrize("form", ["page.html", "site"])
def test_from_a_server_without_a_secure_context(runtime, tmp_path, form):
    path = zoo.bundle("ds_mobilenet_digits")
    made = export.to_web(path, tmp_path / form, runtime)
    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server, Browser(INSECURE) as browser:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        browser.call("Page.addScriptToEvaluateOnNewDocument", source=WITHOUT_RELAXED)
        address = f"http://plain.test:{server.server_port}/{made.relative_to(tmp_path).as_posix()}"
        browser.open(address)
        assert browser.run("isSecureContext") is False and of(browser, "c.build") == "compatible"
        x = images(COUNT)
        logits, levels, _ = routed(browser, x, "1")
        expected = Session(path).run(x)
        np.testing.assert_array_equal(levels, expected.levels)
        np.testing.assert_allclose(logits, expected.logits, atol=1e-3)
        assert browser.run("document.getElementById('camera').disabled")
        assert "needs https" in browser.run("document.getElementById('camera-note').textContent")
        beside = {"page.html": [], "site": ["litert-compatible.wasm.gz", "model.dsbundle"]}[form]
        assert [url.rpartition("/")[2] for url in browser.requests[1:]] == beside
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing of what it serves."""

    def log_message(self, *_):
        pass


def test_a_detector_draws_its_boxes(runtime, tmp_path, tmp_path_factory):
    path = shared.bundle("detector.dsbundle", tmp_path_factory)
    image = scenes.scenes(1, (64, 64))[0][0]
    Image.fromarray(image).save(tmp_path / "picture.png")
    page = export.to_web(path, tmp_path / "page.html", runtime, None, [tmp_path / "picture.png"])
    with Browser() as browser:
        browser.open(page.as_uri())
        for level in (1, 0):  # the largest is the default
            script = f"""(async () => {{ const c = await dsKeras; c.setPolicy({level});
              const found = await c.classify(Float32Array.from({image.ravel().tolist()}));
              return found.things.slice(0, 20).map(({{ box, score, kind }}) => [...box, score, kind]); }})()"""
            rows = np.array(browser.run(script))
            (expected,) = detection.Session(path).detect(image, level, most=20)
            np.testing.assert_allclose(rows[:, :4], expected.boxes, atol=1e-3)
            np.testing.assert_allclose(rows[:, 4], expected.scores, atol=1e-3)
            assert rows[:, 5].tolist() == expected.classes.tolist()
        session = detection.Session(path)
        for threshold in (0.0, 1.01):
            script = f"""(async () => {{ const c = await dsKeras; c.setPolicy("cascade"); c.settings = [{threshold}];
              const found = await c.classify(Float32Array.from({image.ravel().tolist()}));
              return [found.level, found.madds, ...found.things.slice(0, 20).map(({{ score }}) => score)]; }})()"""
            level, madds, *scores = browser.run(script)
            cascade = replace(session.cascade, thresholds=(threshold,))
            assert (level, madds) == session.run_in_turn(image, cascade)[2:]
            (expected,) = session.detect(image, cascade=cascade, most=20)
            np.testing.assert_allclose(scores, expected.scores, atol=1e-3)
        browser.run(
            "(() => { const p = document.getElementById('policy'); p.value = 'cascade'; p.onchange({target: p}); })()"
        )
        assert "mAP@0.5 of 0." in browser.run("document.getElementById('expected').textContent")
        picture = """(() => { const c = document.getElementById("picture");
          return [...c.getContext("2d").getImageData(0, 0, c.width, c.height).data]; })()"""
        shown = np.reshape(browser.run(picture), (64, 64, 4))[..., :3]
        assert (shown != image).any()
        assert browser.run("document.getElementById('policy').length") == 3
        assert browser.complaints == []
