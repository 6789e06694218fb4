"""The page: what it holds, what it never holds, and what it refuses."""

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from fuzz import fuzz
from helpers import nano_vit

from ds_keras import evaluation, zoo
from ds_keras.policies import Times
from ds_keras.report import facts, figures, page, policies_png, sections, write_report
from ds_keras.routing import replay as curves
from ds_keras.routing.execute import routing_spec

from .conftest import CARD, EVIL, LABELS

SECTIONS = [
    "Accuracy against multiply-adds",
    "Accuracy against milliseconds",
    "Levels, level mix and budgets",
    "Calibration",
    "Classes",
    "Training",
    "Images at the smallest and the largest level",
    "Command and versions",
]
VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """Checks that elements nest, and collects them with the text that is shown."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.shown, self.headings = [], [], "", []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)
        if tag == "h2":
            self.headings.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if "style" not in self.open:
            self.shown += text
        if self.open and self.open[-1] == "h2":
            self.headings[-1] += text


@pytest.fixture(scope="session")
def parsed(report):
    return Page(report.read_text())


def test_sections_in_order(parsed):
    assert parsed.headings == SECTIONS
    assert [tag for tag, _ in parsed.tags].count("h1") == 1
    assert ("html", {"lang": "en"}) in parsed.tags


def test_labels_and_commands_are_text(report, parsed):
    """They are shown as they are, and make no element."""
    assert "<script" not in report.read_text().lower()
    assert not {tag for tag, _ in parsed.tags} & {"script", "link", "iframe", "object"}
    assert all(not name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    for text in (*LABELS, CARD["command"], CARD["data"], f"python tools/report.py --preset={EVIL}", CARD["name"]):
        assert text in parsed.shown


def test_nothing_is_fetched(report, parsed):
    sources = [value for _, a in parsed.tags for key, value in a.items() if key in ("src", "href", "srcset", "action")]
    assert sources and all(value.startswith("data:image/") for value in sources)
    assert not re.search(r"https?://|url\(|@import", report.read_text())
    (policy,) = [a["content"] for tag, a in parsed.tags if tag == "meta" and "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def test_everyone_can_read_it(parsed):
    assert all(attributes["alt"] for tag, attributes in parsed.tags if tag == "img")
    tags = [tag for tag, _ in parsed.tags]
    assert tags.count("caption") == tags.count("table") == 5
    assert all(a.get("scope") in ("row", "col") for tag, a in parsed.tags if tag == "th")
    assert ("meta", {"name": "viewport", "content": "width=device-width, initial-scale=1"}) in parsed.tags


def test_figures_are_those_of_the_library(parsed, network, source):
    predictions = curves.score(network, source.images(), source.labels)
    found = evaluation.compare(network, predictions, CARD["temperatures"])
    for row in found["equal_cost"]["rows"]:
        values = [f"{v:.2f}" if v is not None else "" for v in row["top1"]]
        values += [f"{v:.2f}x" if v is not None else "" for v in row["saved"]]
        assert row["policy"] + "".join(values) in parsed.shown
    for row in found["budgets"]["rows"]:
        assert f"{row['asked']}{row['spent']}{row['top1']:.2f}" in parsed.shown
    routed = network.predict_routed(source.images())
    right = routed.logits.argmax(1) == source.labels
    assert f"{100 * right.mean():.2f} % of 60 images are right" in parsed.shown
    for k, label in enumerate(LABELS):
        here = source.labels == k
        cells = [predictions.correct[0][here], predictions.correct[-1][here], right[here]]
        cells += [routed.levels[here] == level for level in range(3)]
        assert f"{label}20" + "".join(f"{100 * part.mean():.1f}" for part in cells) in parsed.shown
    assert "Not measured" in parsed.shown


def test_pictures_only_where_asked_for(network, source, report, tmp_path):
    plain = Page(write_report(tmp_path / "plain.html", network, source).read_text())
    assert plain.headings == SECTIONS and "Left out" in plain.shown and "No curves" in plain.shown
    kinds = [a["src"].split(";")[0] for tag, a in plain.tags if tag == "img"]
    assert kinds == ["data:image/svg+xml"] * 3
    with_pictures = [a["src"].split(";")[0] for tag, a in Page(report.read_text()).tags if tag == "img"]
    assert "data:image/png" in with_pictures
    assert with_pictures.count("data:image/svg+xml") == 3 + 5  # the gate's mix in its own stage alone
    assert list(tmp_path.iterdir()) == [tmp_path / "plain.html"]


def test_the_same_page_twice(network, source, report, log, tmp_path):
    command = f"python tools/report.py --preset={EVIL}"
    again = write_report(tmp_path / "again.html", network, source, CARD, log, pictures=True, command=command)
    assert again.read_bytes() == report.read_bytes()


def test_milliseconds(network, source):
    """Every policy is the sum of what it runs; ``tests/tools`` measures a real bundle."""
    found = facts.Facts(network, {}, source)
    timing = {
        "times": Times(1.0, [2.0, 4.0, 8.0], 0.25, 0.75),
        "composed": 5.5,
        "routed": 6.25,
        "largest": 9.5,
        "images": 7,
    }
    shown = Page(sections.accuracy_over_milliseconds(found, timing)).shown
    assert "gate, with the second file that it needs0.7500" in shown
    assert "level 02.00003.0000" in shown and "level 28.00009.0000" in shown
    assert "Check on 7 of the images" in shown and "takes 6.2500 ms as it runs, 5.5000 ms as the sum" in shown


def test_a_bundle_of_another_model(network, source, tmp_path):
    with pytest.raises(ValueError, match="bundle must be of .*, received one that routes by another table"):
        write_report(tmp_path / "a.html", network, source, bundle=zoo.bundle("ds_mobilenet_digits"))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_page(network, source, tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_report(path, network, source)
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_refused(network, source, tmp_path):
    with pytest.raises(ValueError, match="the model has no budget table"):
        write_report(tmp_path / "a.html", nano_vit(), source)
    log = tmp_path / "metrics.jsonl"
    for text, message in (
        ("{", "line 1 is not of a run's log"),
        ('{"stage": "stage1", "step": 1}\n{"step": 2}\n', "line 2 is not of a run's log: KeyError"),
        ("[]", "line 1 is not"),
    ):
        log.write_text(text)
        with pytest.raises(ValueError, match=message):
            write_report(tmp_path / "a.html", network, source, log=log)
    with pytest.raises(ValueError, match="cannot read .*absent"):
        write_report(tmp_path / "a.html", network, source, log=tmp_path / "absent.jsonl")
    assert not (tmp_path / "a.html").exists()


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=re.escape("plots need matplotlib: pip install 'ds_keras[report]'")):
        figures.training({}, "loss")


def test_the_plot_for_a_card(network, source):
    predictions = curves.score(network, source.images(), source.labels)
    data = policies_png(network, predictions, CARD["temperatures"], "small")
    assert data.startswith(b"\x89PNG") and data == policies_png(network, predictions, CARD["temperatures"], "small")
    assert len(data) < 200_000


def test_an_oracle_far_above_is_named():
    """It would flatten every other curve."""
    flat = figures.Series(np.array([1.0, 2.0]), np.array([50.0, 51.0]))
    oracle = figures.Series(np.array([1.2]), np.array([99.0]))
    figure = figures.accuracy_over_cost({"static": flat, "oracle": oracle}, "ms", (3.0, 50.5), "t")
    (axes,) = figure.axes
    assert axes.get_xlim()[1] > 3  # what ships is in sight, though it may cost more than the largest level
    assert axes.get_ylim()[1] < 52 and "oracle 99.00 %" in [text.get_text() for text in axes.texts]


def test_a_table_escapes_and_leaves_none_empty():
    found = page.table("<c>", ["<h>", "n"], [["<r>", None], ["s", 2]])
    assert "<div>&lt;c&gt;</div>" in found and '<th scope="col">&lt;h&gt;</th>' in found
    assert '<th scope="row">&lt;r&gt;</th><td></td>' in found and "<td>2</td>" in found


def test_the_page_is_in_the_package():
    """Style and all: nothing lies beside the modules that the wheel would have to carry."""
    folder = Path(page.__file__).parent
    assert {path.suffix for path in folder.iterdir() if path.is_file()} == {".py"}


def figures_of(model, path, **changes):
    """What a page of ``ds-keras web`` saves."""
    spec = routing_spec(model)
    figures = {
        "format": "ds_keras.device",
        "format_version": 1,
        "device": {"browser": "<i>Browser</i>"},
        "runtime": {"name": "LiteRT.js"},
        "policy": {"name": "gate"},
        "times": {"start": 1.25, "bodies": [2.5, 5.0, 7.75], "judge": 0.125, "gate": 0.5},
        "levels": [{"madds": spec.start + body} for body in spec.bodies],
        "routed": {"images": 7, "ms": 4.0, "largest_ms": 9.0},
    }
    path.write_text(json.dumps({**figures, **changes}))
    return path


def test_the_figures_of_a_device(network, source, tmp_path):
    path = figures_of(network, tmp_path / "figures.json")
    text = write_report(tmp_path / "a.html", network, source, device=path).read_text()
    assert "On the 7 pictures that were shown to the page, policy &#x27;gate&#x27; takes 4.0000 ms" in text
    assert "Measured in a browser: &lt;i&gt;Browser&lt;/i&gt;." in text
    assert "<td>7.7500</td><td>9.0000</td>" in text
    figures_of(network, path, runtime={"accelerator": "webgpu"})
    assert (
        facts.read_device(SimpleNamespace(model=network), path)["device"] == "<i>Browser</i>, on its graphics processor"
    )
    for changes, words in {
        "other": ({"format": "other"}, "device must be what a page of ds-keras web saved"),
        "short": ({"times": {"start": 1}}, "device must be what a page of ds-keras web saved"),
        "negative": ({"times": {"start": -1, "bodies": [1, 1, 1]}}, "device must be what a page of ds-keras web saved"),
        "costs": ({"levels": [{"madds": 1}] * 3}, "device must be of"),
    }.values():
        with pytest.raises(ValueError, match=words):
            write_report(tmp_path / "a.html", network, source, device=figures_of(network, path, **changes))
    with pytest.raises(ValueError, match="device must be what a page"):
        write_report(tmp_path / "a.html", network, source, device=tmp_path / "none.json")
    with pytest.raises(ValueError, match="give bundle or device"):
        write_report(tmp_path / "a.html", network, source, bundle="b", device="c")


@pytest.mark.parametrize("count", [60, pytest.param(2000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", ["device", "log"])
def test_fuzz(network, log, tmp_path, what, count):
    """Figures of a device, and the log of a run."""
    path = tmp_path / "damaged.json"
    figures_of(network, path)
    whole = {"device": path, "log": log}[what].read_bytes()

    def read(data):
        path.write_bytes(data)
        return facts.read_log(path) if what == "log" else facts.read_device(SimpleNamespace(model=network), path)

    fuzz(read, [whole], count, names=path.name)
