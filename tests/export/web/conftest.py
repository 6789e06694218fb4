import json
import os
import shutil
import subprocess

import pytest

from ds_keras.export.web import page, runtime_package


@pytest.fixture(scope="session")
def node(tmp_path_factory):
    """Gives tasks to the page's scripts under node; answers in order."""
    if shutil.which("node") is None:
        pytest.skip("needs node")
    from pathlib import Path

    scripts = tmp_path_factory.mktemp("scripts") / "page.js"
    scripts.write_text("\n".join(page.source(f"{name}.js") for name in (*page.READER, "image")))
    probe = Path(__file__).with_name("probe.js")

    def run(*tasks, seconds=120):
        text = "\n".join(json.dumps(task) for task in tasks)
        command = ["node", "--max-old-space-size=256", probe, scripts]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=seconds)
        assert done.returncode == 0, done.stderr[-2000:]
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(tasks)
        return answers

    return run


@pytest.fixture(scope="session")
def runtime():
    """The folder of the npm package: $DS_KERAS_LITERTJS, or the cache that an earlier page has filled."""
    folder = os.environ.get("DS_KERAS_LITERTJS", runtime_package.cache_folder())
    try:
        runtime_package.runtime_files(folder)
    except ValueError as error:
        pytest.skip(f"needs LiteRT.js, which `make web` or $DS_KERAS_LITERTJS=FOLDER brings: {error}")
    return folder
