"""Common mistakes, each told in one clear message that says what to do. The rooms' own tests have more of them."""

import re
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import images, nano
from programs import run_command

import ds_keras
from ds_keras import data, export, models, zoo
from ds_keras.runtime import Session

DIGITS = "--preset=ds_mobilenet_digits"
BAD = images(2)
BAD[1, 0, 0] = np.nan
SIZE = "received float32 (1, 9, 9, 1): .*classify takes photos of any size"
MISTAKES = {  # what was done: (how, what the message says)
    "pixels from 0 to 1": (lambda to: to.session.run(images(2) / 255), "lie in [0, 1], but .* multiply by 255"),
    "not a number, in a session": (lambda to: to.session.run(BAD), "images must be finite"),
    "not a number, in Keras": (lambda to: to.model.predict_routed(BAD), "images must be finite"),
    "another size, in a session": (lambda to: to.session.run(images(1, 9)), SIZE),
    "another size, in Keras": (lambda to: to.model.predict_routed(images(1, 9)), SIZE),
    "another size, in a call": (lambda to: to.model(images(1, 9)), SIZE),
    "one image without its batch": (lambda to: to.session.run(images(1)[0]), "(8, 8, 1)"),
    "percent for a share": (lambda to: to.model.set_budget(fraction=30), "give 0.3 for 30 %.* madds= sets such"),
    "a level too many": (lambda to: to.model(images(1), level=9), "level must be .* 9"),
    "a policy that is none": (lambda to: to.model.predict_routed(images(1), policy="cascad"), "policy .* 'cascad'"),
    "fit of a network": (lambda to: to.model.fit(None), "is trained by a trainer, not by model.fit"),
    "a preset's name": (lambda to: zoo.load("ds_mobilenet_digit"), "did you mean ds_mobilenet_digits"),
    "a part of the package": (lambda to: ds_keras.modles, "has no attribute 'modles'; it has .*models"),
    "photos without their form": (lambda to: data.load(str(to.folder)), "folder:"),
    "a photo that is not there": (lambda to: to.session.classify("absent.jpg"), "absent.jpg"),
    "a file that is no photo": (lambda to: to.session.classify(to.text), "cannot decode the image"),
    "a bundle that is not there": (lambda to: Session("absent.dsbundle"), "'absent.dsbundle' does not exist"),
    "a file that is no bundle": (lambda to: Session(to.text), "not a bundle"),
    "a bundle of a network without levels": (lambda to: export.to_bundle(to.lcnet, to.folder / "a"), "no slice levels"),
    "a command": (lambda to: to.command("clasify", "a.jpg"), "one of list, .*classify.*received 'clasify'"),
    "a command's flag": (lambda to: to.command("classify", DIGITS, "--tpo=3", to.text), "tpo.*top"),
    "a missing flag": (lambda to: to.command("evaluate", DIGITS), "needs --data"),
    "a folder without photos": (lambda to: to.command("classify", DIGITS, to.folder), "image files, found none in"),
    "a missing configuration": (lambda to: to.command("train", "--config=a.py", "--workdir=b"), "missing: 'a.py'"),
    "grey images for colours": (lambda to: to.command("evaluate", "--preset=ds_vit", "--data=digits"), "1 channels"),
}  # fmt: skip


@pytest.fixture(scope="module")
def to(tmp_path_factory):
    """What mistakes are made with."""
    folder = tmp_path_factory.mktemp("mistakes")
    text = folder / "notes.txt"
    text.write_text("no photo")

    def command(*words):
        done = run_command(*words, cwd=folder)
        assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
        last = done.stderr.splitlines()[-1]
        raise ValueError(last.removeprefix("error: "))

    session = Session(zoo.bundle("ds_mobilenet_digits"))
    lcnet = models.LCResNet(4, [{"width": 4, "depth": 1}], 3, (8, 8, 1), block="basic", groups=2)
    return SimpleNamespace(folder=folder, text=str(text), command=command, session=session, model=nano(), lcnet=lcnet)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake(to, mistake):
    make, words = MISTAKES[mistake]
    with warnings.catch_warnings(), pytest.raises((ValueError, OSError, AttributeError, UserWarning)) as found:
        warnings.simplefilter("error")
        make(to)
    message = str(found.value)
    assert re.search(".*".join(map(re.escape, words.split(".*"))), message, re.S), message
    assert len(message) < 600
