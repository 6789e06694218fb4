import json
from dataclasses import replace

import numpy as np
import pytest
from helpers import without_tracing

from ds_keras.experiments import Experiment, TrainingStage
from ds_keras.experiments.ablation import _changed, ablate
from ds_keras.models import DSMobileNet
from ds_keras.models.mobilenet import Stage
from ds_keras.zoo.cards import HEADER, policy_cells

ROWS = (Stage(6, 1), Stage((4, 16), 1, 2, gate=True))
SHORT = {"objective": "ce", "num_random": 0}  # the fewest passes to trace
SMALL = {"stem_stride": 1, "gate_hidden": 4, "attention": False}


def experiment(**trainer):
    return Experiment(
        name="toy",
        data="digits",
        model=lambda classes, shape: DSMobileNet(4, ROWS, classes, shape, **SMALL),
        stage1=TrainingStage(1, 0.05, batch_size=64, mixup=0.2, trainer={**SHORT, **trainer}),
        stage2=TrainingStage(1, 1e-3, "adam", 64, trainer={"target": None}),
        held_out=200,
        train_images=320,
        calibration=(1, 64),
    )


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("ablation")
    variants = {"same": {}, "alone": {"levels": [1]}}
    with without_tracing():
        return workdir, ablate(experiment(), workdir, variants, seeds=[0, 1], command="me", verbose=0)


def test_rows(done):
    workdir, result = done
    assert result == json.loads((workdir / "ablation.json").read_text())
    expected = {"command": "me", "experiment": "toy", "split": "held_out", "epochs": 1, "train_images": 320}
    assert {key: result[key] for key in expected} == expected and result["seeds"] == [0, 1]
    found = [(row["variant"], row["level"]) for row in result["rows"]]
    assert found == [("same", 0), ("same", 1), ("alone", 1)]
    rows = {(row["variant"], row["level"]): row for row in result["rows"]}
    for (_, level), row in rows.items():
        difference = np.subtract(row["top1"], rows["same", level]["top1"])
        assert row["difference"] == pytest.approx(difference.mean(), abs=0.006)
        assert row["difference_sd"] == pytest.approx(difference.std(ddof=1), abs=0.006)
        assert row["mean"] == pytest.approx(np.mean(row["top1"]), abs=0.006)


def test_runs_are_paired(done):
    """The same arguments give the same figures, others do not. What was run before is kept."""
    workdir, result = done
    variants = {"same": {}, "again": {"objective": "ce"}}
    with without_tracing():
        again = ablate(experiment(), workdir, variants, seeds=[0], verbose=0)
    assert [row["difference"] for row in again["rows"]] == [0.0] * 4
    rows = {(row["variant"], row["level"]): row["top1"] for row in result["rows"]}
    assert rows["alone", 1] != rows["same", 1]
    assert any(rows["same", level][0] != rows["same", level][1] for level in (0, 1))  # seeds


def test_done_runs_are_kept(done):
    workdir, result = done
    stamps = {path: path.stat().st_mtime_ns for path in workdir.glob("*-*/held_out.json")}
    lines = (workdir / "same-0/metrics.jsonl").read_text()
    assert len(stamps) >= 4 and len(lines.splitlines()) == 1
    again = ablate(experiment(), workdir, {"same": {}, "alone": {"levels": [1]}}, seeds=[0, 1], verbose=0)
    assert again["rows"] == [row for row in result["rows"] if row["variant"] in ("same", "alone")]
    assert {path: path.stat().st_mtime_ns for path in stamps} == stamps
    assert (workdir / "same-0/metrics.jsonl").read_text() == lines


def test_another_split(done):
    """The same weights, scored on other images."""
    workdir, result = done
    lines = (workdir / "same-0/metrics.jsonl").read_text()
    other = ablate(experiment(), workdir, {"same": {}}, seeds=[0], split="test", verbose=0)
    assert other["split"] == "test" and (workdir / "same-0/metrics.jsonl").read_text() == lines
    assert other["rows"][1]["top1"][0] != result["rows"][1]["top1"][0]
    with pytest.raises(ValueError, match=r"split must be 'held_out' or one of \['test', 'train'\], received 'x'"):
        ablate(experiment(), workdir, {"same": {}}, seeds=[0], split="x", verbose=0)


def test_policies(tmp_path):
    """Stage II runs, or not; the model's config is changed too; what is known of a run is kept."""
    alone = {"weight_decay": 1e-3, "stage2": None, "model": {"gate_hidden": 8}}
    variants = {"as": {"stage2": {"epochs": 2}}, "alone": alone}
    arguments = {"seeds": [0], "max_steps": 2, "verbose": 0, "policies": True}
    with without_tracing():
        result = ablate(experiment(), tmp_path, variants, **arguments)
    rows = [(row["variant"], row["policy"]) for row in result["policies"]]
    assert rows == [(variant, policy) for variant in variants for policy in ("static", "gate", "cascade")]
    for row in result["policies"]:
        assert 0 < row["area"]["mean"] < 100 and row["saved"]["values"][0] > 0
        assert (row["area"]["difference"] == 0) == (row["variant"] == "as") and row["area"]["sd"] is None
    stages = {
        name: {json.loads(line)["stage"] for line in (tmp_path / f"{name}-0/metrics.jsonl").read_text().splitlines()}
        for name in variants
    }
    assert stages == {"as": {"stage1", "stage2"}, "alone": {"stage1"}}
    assert "epochs=2" in json.loads((tmp_path / "as-0/experiment.json").read_text())["stage2"]
    assert [row["sd"] for row in result["rows"]] == [None] * 4  # of one seed
    (tmp_path / "as-0/metrics.jsonl").unlink()
    assert ablate(experiment(), tmp_path, variants, **arguments) == result
    assert not (tmp_path / "as-0/metrics.jsonl").exists()
    cells = policy_cells(result["policies"])
    assert {len(row) for row in cells} == {len(HEADER)} and cells[0][:2] == ["as", "static"]


def test_order_of_channels():
    """A variant may order the channels by other images than the experiment, or not at all."""
    first = replace(experiment(), order_images=600)
    orders = [_changed(first, arguments, policies=False).order_images for arguments in ({}, {"order_images": 0})]
    assert orders == [600, 0]


def test_refused(done, tmp_path):
    for arguments in ({"variants": {}}, {"variants": {"a": {}}, "seeds": []}):
        with pytest.raises(ValueError, match="variants and seeds must not be empty"):
            ablate(experiment(), tmp_path, **arguments)
    with pytest.raises(ValueError, match="objective must be one of"):
        ablate(experiment(), tmp_path, {"a": {"objective": "best"}})
    decayed = replace(experiment(), stage1=TrainingStage(1, 0.05, "adamw", 64, weight_decay=0.1, trainer=SHORT))
    with pytest.raises(ValueError, match="optimizer.weight_decay must be 0 where a part of the levels is trained"):
        ablate(decayed, tmp_path, {"all": {}, "alone": {"levels": [0]}}, seeds=[0])
    assert not any(tmp_path.glob("all-0/stage1"))  # nothing was trained before
    with pytest.raises(ValueError, match="holds another experiment"):
        ablate(experiment(weight_decay=0.1), done[0], {"same": {}}, seeds=[0])
