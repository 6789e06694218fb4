"""The page as a file: what is in it, and what it allows. Chromium runs it in test_browser.py."""

import base64
import hashlib
import json
import os
import re
import zipfile
from importlib import resources

import pytest
import shared
from damaged import as_directory
from programs import run_command

from ds_keras import export, zoo
from ds_keras.export.web import page, runtime_package
from ds_keras.runtime import Bundle

STUB = (
    'import { createWasmLib } from "@litertjs/wasm-utils";\n[\n  {\n    elementType: ElementType.UINT8\n  }\n]);\n'
    "await Environment.create()\nexport {\n  CompiledModel,\n};\n"
)


@pytest.fixture
def stub(monkeypatch):
    """A LiteRT.js that does nothing: no test here runs it."""
    files = {
        name: STUB.encode() if name == runtime_package.LIBRARY else name.encode() for name in runtime_package.SHA256
    }
    monkeypatch.setattr(runtime_package, "runtime_files", lambda folder=None: files)
    return files


def scripts(text):
    """Content of the script elements by (type, id)."""
    found = re.findall(r'<script(?: type="([^"]*)" id="([^"]*)")?>(.*?)</script>', text, re.S)
    return [(kind, name, content) for kind, name, content in found]


def test_what_is_in_the_page(stub, tmp_path):
    picture = tmp_path / "a.png"
    picture.write_bytes(b"picture")
    path = zoo.bundle("ds_mobilenet_digits")
    card = {"data": "</script><b>digits</b>", "other": 1}
    made = export.to_web(path, tmp_path / "page.html", card=card, pictures=[picture])
    text = made.read_text()
    found = scripts(text)
    blocks = {name: content for _, name, content in found if name}
    assert base64.b64decode(blocks["data-model.dsbundle"]) == path.read_bytes()
    settings = json.loads(blocks["settings"])
    assert settings["about"] == {"data": "</script><b>digits</b>"}
    assert base64.b64decode(settings["pictures"][0]) == b"picture"
    assert blocks["glue-relaxed"] == "wasm/litert_wasm_internal.js"
    assert "Apache License" in text and runtime_package.VERSION in text
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)[1].replace("&#x27;", "'")
    assert (
        policy.startswith("default-src 'none'; ") and "connect-src 'none'" in policy and "unsafe-inline" not in policy
    )
    running = [content for kind, name, content in found if not kind or name.startswith("glue-")]
    for content in [*running, re.search("<style>(.*?)</style>", text, re.S)[1]]:
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy
    markup = re.sub("<script.*?</script>", "", text, flags=re.S)
    assert len(running) == 4 and not re.search('(?:src|href)="(?!data:)', markup)


def test_a_folder_for_a_server(stub, tmp_path):
    path = zoo.bundle("ds_mobilenet_digits")
    made = export.to_web(path, tmp_path / "site")
    assert made == tmp_path / "site" / "index.html"
    names = {"index.html", "model.dsbundle", "litert-relaxed.wasm.gz", "litert-compatible.wasm.gz"}
    assert {file.name for file in made.parent.iterdir()} == names
    assert (made.parent / "model.dsbundle").read_bytes() == path.read_bytes()
    assert "data-model.dsbundle" not in made.read_text() and "connect-src &#x27;self&#x27;" in made.read_text()


def test_a_bundle_in_a_directory(stub, tmp_path, tmp_path_factory):
    made = shared.bundle("labelled", tmp_path_factory)
    export.to_web(made, tmp_path / "site")
    found = Bundle(tmp_path / "site" / "model.dsbundle")
    assert found.id == Bundle(made).id and found.file("body_2") == Bundle(made).file("body_2")


def test_a_damaged_bundle_makes_no_page(stub, tmp_path):
    with zipfile.ZipFile(zoo.bundle("ds_mobilenet_digits")) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    as_directory(tmp_path / "bad", {**parts, "kernels.bin": parts["kernels.bin"][:-1]})
    with pytest.raises(ValueError, match=r"kernels\.bin is damaged"):
        export.to_web(tmp_path / "bad", tmp_path / "page.html")
    with pytest.raises(ValueError, match="does not exist"):
        export.to_web(tmp_path / "none", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_another_version_of_the_runtime(stub, tmp_path):
    stub[runtime_package.LIBRARY] = b"export {};"
    with pytest.raises(ValueError, match="another version of LiteRT.js"):
        export.to_web(zoo.bundle("ds_mobilenet_digits"), tmp_path / "page.html")


def test_the_runtime_is_checked(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"runtime must be a folder with @litertjs/core"):
        runtime_package.runtime_files(tmp_path)
    (tmp_path / "package" / "dist").mkdir(parents=True)
    (tmp_path / "package" / "dist" / "index.js").write_text("other")
    with pytest.raises(ValueError, match=r"dist/index\.js of .*package has sha256"):
        runtime_package.runtime_files(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime_package, "URL", (tmp_path / "package" / "dist" / "index.js").as_uri())
    with pytest.raises(ValueError, match="gave another file: integrity sha512-"):
        runtime_package.runtime_files()
    monkeypatch.setattr(runtime_package, "URL", (tmp_path / "none").as_uri())
    with pytest.raises(OSError, match="Without internet, give runtime="):
        runtime_package.runtime_files()
    assert not (tmp_path / "cache").exists()


def test_pipes_are_not_read(stub, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="cannot read .*pipe: it is not a regular file"):
        export.to_web(zoo.bundle("ds_mobilenet_digits"), tmp_path / "page.html", pictures=[tmp_path / "pipe"])


def test_command(stub, tmp_path):
    done = run_command("web", "--preset=ds_mobilenet_digits", "--output=page.html", cwd=tmp_path)
    assert done.returncode == 0 and "page.html" in done.stdout, done.stderr
    assert "CC BY 4.0" in (tmp_path / "page.html").read_text()
    for flags, words in {
        ("--output=a.html",): "exactly one of --preset and --bundle",
        ("--preset=ds_mobilenet_digits",): "needs --output",
        ("--bundle=none", "--output=a.html"): "does not exist",
        ("--bundle=none", "--int8", "--output=a.html"): "--int8 goes with --preset",
        ("--preset=ds_mobilenet_digits", "--pictures=none.png", "--output=a.html"): "none.png",
    }.items():
        done = run_command("web", *flags, cwd=tmp_path)
        assert done.returncode == 2 and words in done.stderr, done.stderr


def test_every_script_is_part_of_the_page():
    folder = resources.files("ds_keras.export.web") / "assets"
    names = {file.name for file in folder.iterdir() if file.name.endswith(".js")}
    assert names == {f"{name}.js" for name in page.SCRIPTS}
