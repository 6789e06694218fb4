"""From a folder of photos to files, as a user runs it."""

import json

import keras
import numpy as np
import pytest
from PIL import Image

from ds_keras import detection, zoo
from ds_keras.cli import program
from ds_keras.detection import export
from ds_keras.export import flatbuffer
from tests.detection import scenes
from tests.helpers import fill


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    model = scenes.detector()
    model.build()
    fill(model.head_block)  # scores that are not all nearly 0
    return model


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    pytest.importorskip("ai_edge_litert")
    root = tmp_path_factory.mktemp("run")
    detection.save(model, root / "preset")
    detection.to_tflite(model, root / "tflite")
    return root


def same(found, expected):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.scores, other.scores, atol=1e-4)
        np.testing.assert_allclose(one.boxes, other.boxes, atol=1e-3)
        assert one.names == other.names


def test_files_give_what_keras_gives_at_every_level(model, folder):
    session = detection.Session(folder / "tflite")
    photos = list(scenes.scenes(2)[0])
    assert session.levels == [0, 1]
    for level in (0, 1, None):
        found = session.detect(photos, level=level, threshold=0.5, most=20)
        assert len(found[0])
        same(found, model.detect(photos, level=level, threshold=0.5, most=20))
    for path in (folder / "tflite").glob("*.tflite"):
        flatbuffer.check_operators(path.read_bytes(), path.name)


def test_a_saved_detector_is_the_same(model, folder):
    photos = list(scenes.scenes(1)[0])
    twin = detection.load(folder / "preset")
    assert twin.get_config() == model.get_config()
    with pytest.raises(ValueError, match="ds_keras.detection.load"):
        zoo.load(folder / "preset")
    same(twin.detect(photos, level=0, threshold=0.5), model.detect(photos, level=0, threshold=0.5))


def test_a_level_is_a_plain_network_without_what_it_does_not_use(model):
    network = export.subnet(model, 0)
    assert all(type(layer).__module__.startswith("keras.") for layer in network.layers)
    assert network.count_params() < model.count_params() / 2
    assert "last" not in {layer.name for layer in network.layers}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class": "DSMobileNet"}, "must be of a DSDetector"),
        ({"config": {}}, "must be of a DSDetector"),
        ({"backbone": {"class": "Lambda", "config": {}}}, "model of ds_keras.models"),
        ({"backbone": {"class": "DSMobileNetV2", "config": {"stem": 8}}}, "config must have"),
        ({"width": 10**6}, "config.json"),
    ],
)
def test_a_damaged_detector_is_named(model, folder, tmp_path, change, message):
    record = json.loads((folder / "preset/config.json").read_text())
    record.update({k: v for k, v in change.items() if k in record})
    record["config"].update({k: v for k, v in change.items() if k in record["config"]})
    (tmp_path / "config.json").write_text(json.dumps(record))
    (tmp_path / "model.weights.h5").write_bytes((folder / "preset/model.weights.h5").read_bytes())
    with pytest.raises(ValueError, match=message):
        detection.load(tmp_path)


@pytest.mark.parametrize(
    "change", [{"labels": ["a"]}, {"input_shape": [0, 64, 3]}, {"levels": [{"level": "../0"}]}, {"format_version": 2}]
)
def test_a_damaged_description_is_named(folder, tmp_path, change):
    record = json.loads((folder / "tflite/detector.json").read_text())
    (tmp_path / "detector.json").write_text(json.dumps({**record, **change}))
    with pytest.raises(ValueError, match=r"detector\.json does not describe a detector"):
        detection.Session(tmp_path)


def test_a_file_of_another_detector_is_named(folder, tmp_path):
    record = json.loads((folder / "tflite/detector.json").read_text())
    (tmp_path / "detector.json").write_text(json.dumps({**record, "input_shape": [96, 64, 3]}))
    (tmp_path / "level_0.tflite").write_bytes((folder / "tflite/level_0.tflite").read_bytes())
    with pytest.raises(ValueError, match=r"level_0\.tflite is not the file of this detector"):
        detection.Session(tmp_path).detect(np.zeros((8, 8, 3)), level=0)


def test_the_command_detects_and_draws(folder, tmp_path, capsys):
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, image in enumerate(scenes.scenes(2)[0]):
        Image.fromarray(image).save(photos / f"{i}.png")
    flags = [f"--model={folder}", "--threshold=0.5", "--level=0", str(photos)]
    program.main("detect", [*flags, f"--output={tmp_path / 'drawn'}"])
    table = capsys.readouterr().out
    assert table.splitlines()[0].split() == ["photo", "class", "%", "left", "top", "right", "bottom"]
    assert "0.png" in table and "red" in table
    drawn = sorted((tmp_path / "drawn").iterdir())
    assert [path.name for path in drawn] == ["0000_0.png", "0001_1.png"]
    with Image.open(drawn[0]) as picture:
        assert picture.size == (64, 48)
    program.main("detect", [*flags, "--keras"])
    assert capsys.readouterr().out.count("\n") == table.count("\n")
    with pytest.raises(SystemExit):
        program.main("detect", [flags[0], str(photos), "--budget=0.5"])
    assert "--cascade must name a cascade" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        program.main("detect", [f"--model={folder}", "--level=7", str(photos)])
    assert "level must be one of [0, 1]" in capsys.readouterr().err


def test_the_command_writes_files(model, folder, tmp_path, capsys):
    flags = [f"--preset={folder / 'preset'}", f"--output={tmp_path / 'files'}"]
    program.main("export", [*flags, "--levels=0"])
    assert "level_0.tflite" in capsys.readouterr().out
    assert detection.Session(tmp_path / "files").labels == scenes.NAMES
    with pytest.raises(SystemExit):
        program.main("export", [*flags, f"--cascade={folder / 'preset/config.json'}"])
    assert "--cascade is for a detector's bundle" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        program.main("export", [*flags, "--format=onnx"])
    assert "model must be a classifier, received the DSDetector" in capsys.readouterr().err


def test_a_report_shows_the_boxes_of_every_level(folder, tmp_path, capsys):
    pytest.importorskip("pycocotools")
    data = scenes.write_voc(tmp_path / "scenes", 3, size=(48, 64))
    page = tmp_path / "report.html"
    flags = [f"--workdir={folder}", f"--data=voc:{data}", f"--output={page}"]
    program.main("report", [*flags, "--images", "--split=train"])
    text = page.read_text()
    assert "mAP@0.5" in text and "Level 1: scores of 0.3 and more" in text and text.count("data:image/png") == 3 * 2
    assert "Left out" not in text and "blue, red" in text
    with pytest.raises(SystemExit):
        program.main("report", [*flags, "--split=val"])
    assert "split must be one of ['test', 'train'], received 'val'" in capsys.readouterr().err


def test_evaluation_refuses_other_classes(model):
    source = scenes.source(1)
    source.class_names = ["a"]
    with pytest.raises(ValueError, match="2 classes"):
        detection.evaluate(model, source)


def test_wrong_flags_of_training_are_named(capsys):
    for wrong, message in (("--minutes=0", "minutes"), ("--image_size=96", "image_size")):
        with pytest.raises(SystemExit):
            program.main("train_detector", ["--data=voc:none", wrong])
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_a_set_without_boxes_is_refused_before_the_training(tmp_path):
    path = scenes.write_coco(tmp_path / "json")
    path.write_text(json.dumps({**json.loads(path.read_text()), "annotations": []}))
    with pytest.raises(ValueError, match="data must have boxes in its part train, received 'coco:"):
        detection.train("ds_mobilenet", f"coco:{path}", workdir=tmp_path / "run")


def test_training_from_the_command_line(tmp_path, capsys, caplog):
    pytest.importorskip("pycocotools")
    pytest.importorskip("ai_edge_litert")
    zoo.save(scenes.backbone(), tmp_path / "start")
    data = scenes.write_voc(tmp_path / "scenes", 10, size=(96, 96))
    flags = [f"--data=voc:{data}", f"--start={tmp_path / 'start'}", f"--workdir={tmp_path / 'run'}", "--keep_val"]
    program.main("train_detector", [*flags, "--minutes=0.02", "--batch_size=2", "--image_size=96,96"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].split() == ["level", "MMAdds", "mAP@0.5", "mAP"] and len(printed) == 6
    assert "it is not usable" in caplog.text and "as many minutes as 0.02" in caplog.text
    metrics = json.loads((tmp_path / "run/preset/metrics.json").read_text())
    assert metrics["data"] == "scenes" and metrics["measured_on"] == "a fifth held out of the images"
    assert [row["level"] for row in metrics["levels"]] == [0, 1]
    card = (tmp_path / "run/preset/README.md").read_text()
    assert "## Levels (test set)" in card and 'detection.load("run")' in card and "train_detector" in card
    assert detection.Session(tmp_path / "run/tflite").labels == scenes.NAMES
    session, written = detection.Session(zoo.bundle(tmp_path / "run/preset")), tmp_path / "run/routing.json"
    assert session.cascade.at(fraction=1.0) == detection.DetectionCascade.read(written).at(fraction=1.0)
    assert "2 held-out images, a fifth of the training images (thresholds, cascade)" in card
    assert "The bundle holds a cascade" in card and "## Thresholds" in card
    assert "mAP@0.5" in (tmp_path / "run/report.html").read_text()
    how = ["--minutes=0.02", "--batch_size=2", "--image_size=96,96"]
    program.main("train_detector", [*flags, *how])  # it is finished: nothing is trained or measured again
    assert capsys.readouterr().out.splitlines() == printed
    with pytest.raises(SystemExit):
        program.main("train_detector", [*flags, *how, "--seed=1"])
    assert "holds another run" in capsys.readouterr().err
