"""``tools/train.py`` in processes of its own that are killed: the preset is the one of a run that was not."""

import json
import os
import re
import shlex
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from helpers import pair, snapshot, stored, without_tracing
from programs import run_program

from ds_keras import data, zoo
from ds_keras.evaluation.tables import evaluate
from ds_keras.experiments import Experiment, TrainingStage, read_experiment
from ds_keras.experiments.preset import facts
from ds_keras.experiments.run import Run
from ds_keras.experiments.runner import run
from ds_keras.models import DSMobileNet
from ds_keras.models.mobilenet import Stage

ROOT = Path(__file__).parents[2]
# Two levels, 5 steps an epoch; DIE="<file> before|after" kills the process (SIGKILL) as that file of the workdir is
# moved into place: "before" leaves the temporary file, "after" the whole one.
CONFIG = """
import os
import signal

from ds_keras.models import DSMobileNet
from ds_keras.models.mobilenet import Stage
from ds_keras.experiments import Experiment, TrainingStage

ROWS = (Stage(6, 1), Stage((4, 32), 1, 2, gate=True))
EPOCHS, RATE = int(os.environ.get("EPOCHS", 2)), float(os.environ.get("RATE", 0.05))
EXPERIMENT = Experiment(
    name="toy",
    data="digits",
    model=lambda classes, shape: DSMobileNet(4, ROWS, classes, shape, stem_stride=1, gate_hidden=4, attention=False),
    stage1=TrainingStage(EPOCHS, RATE, batch_size=64, augment="shift:1", trainer={"num_random": 1}),
    stage2=TrainingStage(EPOCHS, 3e-3, "adam", 64, trainer={"target": float(os.environ.get("TARGET", 0.85))}),
    held_out=1117,
    calibration=(2, 64),
)
replace, (name, moment) = os.replace, os.environ.get("DIE", "nothing before").split()


def dying(source, target):
    hit = str(target).endswith(name)
    if hit and moment == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    replace(source, target)
    if hit:
        os.kill(os.getpid(), signal.SIGKILL)


os.replace = dying
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "experiment.py"
    path.write_text(CONFIG)
    return path


def train(config, workdir, *flags, **env):
    env = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **{k: str(v) for k, v in env.items()}}
    flags = [f"--config={config}", f"--workdir={workdir}", *flags]
    return run_program(ROOT / "tools" / "train.py", *flags, cwd=ROOT, env=env)


def finished(*args, **kwargs):
    result = train(*args, **kwargs)
    assert result.returncode == 0, result.stderr[-3000:]
    return result


def arrays(workdir):
    """Every array of the preset's weights, as bytes."""
    found = {name: value.tobytes() for name, value in stored(workdir / "preset/model.weights.h5").items()}
    assert len(found) > 20
    return found


def figures(workdir):
    metrics = json.loads((workdir / "preset/metrics.json").read_text())
    return {key: value for key, value in metrics.items() if key not in ("seconds", "command")}


def config_of(workdir):
    record = json.loads((workdir / "preset/config.json").read_text())
    return {key: value for key, value in record.items() if key != "sha256"}


def equal(workdir, reference):
    assert arrays(workdir) == arrays(reference)
    assert figures(workdir) == figures(reference)
    assert config_of(workdir) == config_of(reference)


@pytest.fixture(scope="module")
def reference(config, tmp_path_factory):
    """The workdir of a run that nothing interrupted."""
    workdir = tmp_path_factory.mktemp("reference") / "a run"
    result = finished(config, workdir, "--checkpoint_every=3")
    assert f"preset: {workdir}/preset" in result.stdout
    return workdir


def test_what_a_run_leaves(reference):
    steps = [f"step-{step:09d}.npz" for step in (6, 9, 10)]
    for stage in ("stage1", "stage2"):
        assert sorted(path.name for path in (reference / stage).iterdir()) == steps
    lines = [json.loads(line) for line in (reference / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [
        (f"stage{i}", step) for i in (1, 2) for step in (5, 10)
    ]
    assert all(np.isfinite(value) for line in lines for key, value in line.items() if key != "stage")
    command = json.loads((reference / "preset/metrics.json").read_text())["command"]
    program, *flags = shlex.split(command.removeprefix("python "))  # a shell takes it as it is
    assert program == "tools/train.py" and flags[1:] == [f"--workdir={reference}", "--checkpoint_every=3"]
    metrics = figures(reference)
    assert metrics["complete"] is True and len(metrics["levels"]) == 2
    assert (metrics["trained_on"], metrics["tested_on"]) == (
        "320 images of the training set",
        "360 test images, read once",
    )
    assert "toy" in (reference / "preset/README.md").read_text()


def test_killed_and_run_again(config, reference, tmp_path):
    """SIGKILL while Stage I saves; the same command goes on, from what the epoch saved: step 5."""
    workdir = tmp_path / "run"
    result = train(config, workdir, "--checkpoint_every=3", DIE="stage1/step-000000006.npz before")
    assert result.returncode == -9, result.stderr[-3000:]
    result = finished(config, workdir, "--checkpoint_every=3")
    assert "stage1: going on from step 5 of 10" in result.stderr
    equal(workdir, reference)


@pytest.mark.slow
def test_killed_again_and_again(config, reference, tmp_path):
    """SIGKILL in each stage and while the preset is written; the same command goes on.

    The newest checkpoint of Stage II is cut besides, as a disk without order may leave it: the one before serves.
    """
    workdir = tmp_path / "run"
    torn = workdir / "stage2/step-000000006.npz"
    moments = ["stage1/step-000000006.npz before", "stage2/step-000000006.npz after", "preset/config.json before"]
    went_on = [
        [],
        ["stage1: going on from step 5 of 10"],
        [f"passing over the damaged checkpoint {torn}", "stage2: going on from step 5 of 10"],
    ]
    for moment, said in zip(moments, went_on, strict=True):
        result = train(config, workdir, "--checkpoint_every=3", DIE=moment)
        assert result.returncode == -9, result.stderr[-3000:]
        assert all(line in result.stderr for line in said), result.stderr[-3000:]
        if "stage2" in moment:
            torn.write_bytes(torn.read_bytes()[:1000])
    result = finished(config, workdir, "--checkpoint_every=3")
    assert "stage2: going on from step 10 of 10" in result.stderr
    equal(workdir, reference)


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["stage1", "stage2"])
def test_killed_at_every_step(config, tmp_path, stage):
    """Twenty times in each stage, alternately before and after a checkpoint is moved into place."""
    finished(config, tmp_path / "reference", "--checkpoint_every=7", EPOCHS=4)
    for step in range(1, 21):
        moment = f"{stage}/step-{step:09d}.npz {'before' if step % 2 else 'after'}"
        result = train(config, tmp_path / "run", "--checkpoint_every=1", EPOCHS=4, DIE=moment)
        assert result.returncode == -9, result.stderr[-3000:]
    finished(config, tmp_path / "run", "--checkpoint_every=1", EPOCHS=4)
    equal(tmp_path / "run", tmp_path / "reference")


def test_the_workdir_of_another_experiment(config, reference, monkeypatch):
    monkeypatch.setattr(os, "replace", os.replace)  # the config replaces it
    before = {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()}
    experiments = [replace(read_experiment(config), seed=5)]
    for name, value in {"EPOCHS": "3", "RATE": "0.04"}.items():
        with monkeypatch.context() as environment:
            environment.setenv(name, value)
            experiments.append(read_experiment(config))
    for experiment in experiments:
        with pytest.raises(ValueError, match=re.escape(f"workdir '{reference}' holds another experiment")):
            run(experiment, reference)
    assert {path: path.read_bytes() for path in reference.rglob("*") if path.is_file()} == before


def test_losses_that_are_not_finite(config, tmp_path):
    workdir = tmp_path / "run"
    result = train(config, workdir, "--checkpoint_every=1", RATE=1e30)
    assert result.returncode == 2 and "Traceback" not in result.stderr
    last = result.stderr.splitlines()[-1]
    newest = max((workdir / "stage1").glob("step-*.npz"))
    step = int(newest.stem[5:])
    assert last.startswith("error: stage1: ") and "not finite" in last and str(newest) in last
    assert f"[at step] [{step}] [level]" in last
    with np.load(newest) as file:
        assert all(np.isfinite(file[name]).all() for name in file.files if name != "meta")
    # What the message advises has to work: another rate is another experiment, so not in this workdir.
    assert "run the same command again" not in last and "workdir" in last
    assert not (workdir / "preset").exists()


@pytest.mark.parametrize(
    ("stage", "changes", "message"),
    [
        ("stage2", {"trainer": {"target": 0.1}}, "target must"),
        ("stage1", {"optimizer": "adamw", "weight_decay": 0.1, "trainer": {"levels": [0]}}, "optimizer.weight_decay"),
    ],
)
def test_a_stage_that_cannot_run_is_refused_before_all_training(tmp_path, monkeypatch, stage, changes, message):
    monkeypatch.setattr("ds_keras.experiments.run.prepare", lambda run: pytest.fail("something was trained"))
    experiment = replace(SMALL, **{stage: replace(getattr(SMALL, stage), **changes)})
    with pytest.raises(ValueError, match=message):
        run(experiment, tmp_path / "run")
    assert not list((tmp_path / "run").glob("stage1/*"))


@pytest.mark.slow
def test_a_dry_run_may_come_first(config, reference, tmp_path):
    """Stage II of the trial began from a supernet that moved on since."""
    workdir = tmp_path / "run"
    result = finished(config, workdir, "--dry_run")
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [("stage1", 2), ("stage2", 2)]
    assert "level 1" in result.stdout and "policy oracle" in result.stdout
    assert figures(workdir)["complete"] is False
    assert "trial run" in (workdir / "preset/README.md").read_text()
    finished(config, workdir, "--checkpoint_every=3")
    equal(workdir, reference)


@pytest.mark.parametrize("text", ["", "EXPERIMENT = 3", "EXPERIMENT = {'name': 'a'}"])
def test_read_experiment_without_one(tmp_path, text):
    (tmp_path / "config.py").write_text(text)
    with pytest.raises(ValueError, match=r"config\.py must define EXPERIMENT = "):
        read_experiment(tmp_path / "config.py")


@pytest.mark.parametrize("name", ["absent.py", "."])
def test_read_experiment_of_no_file(tmp_path, name):
    with pytest.raises(ValueError, match="config must be a Python file, (received|this one is missing)"):
        read_experiment(tmp_path / name)


def test_read_experiment_that_does_not_run(tmp_path):
    for name, text in {"notes.md": "some notes", "config.py": "import no_such_module"}.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"config '.*notes\.md' does not run: SyntaxError"):
        read_experiment(tmp_path / "notes.md")
    with pytest.raises(ValueError, match="does not run: ModuleNotFoundError: No module named 'no_such_module'"):
        read_experiment(tmp_path / "config.py")


@pytest.mark.parametrize("path", sorted((ROOT / "zoo").glob("*/experiment.py")), ids=lambda path: path.parent.name)
def test_shipped_experiments(path):
    experiment = read_experiment(str(path))
    assert isinstance(experiment, Experiment) and experiment.name == path.parent.name and experiment.data_terms
    assert f"--config=zoo/{experiment.name}/experiment.py" in path.read_text()
    for stage in filter(None, (experiment.stage1, experiment.stage2)):
        assert stage.epochs > 0 and stage.make_optimizer(100) is not None


OTHERS = [
    path
    for path in sorted((ROOT / "zoo").glob("*/*.py"))
    if path.name != "experiment.py" and "\nEXPERIMENT = " in path.read_text()  # others are programs
]


@pytest.mark.parametrize("path", OTHERS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_further_experiments(path):
    """Those that go on from a preset, or compare something on it."""
    experiment = read_experiment(path)
    assert f"--config=zoo/{path.parent.name}/{path.name}" in path.read_text()
    assert experiment.stage1.make_optimizer(100) is not None and experiment.data_terms
    assert not (ROOT / "zoo" / experiment.name).exists() or experiment.name == path.parent.name


@pytest.mark.parametrize(("name", "kind"), [("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")])
def test_the_schedule(name, kind):
    """Linear warm-up to the peak, then cosine to 0; counted in steps, as Keras asks for it."""
    optimizer = TrainingStage(1, 0.4, name, warmup=0.2, clip_norm=3.0).make_optimizer(200)
    assert type(optimizer).__name__ == kind and optimizer.global_clipnorm == 3.0
    schedule = optimizer._learning_rate
    rates = [float(schedule(step)) for step in (0, 20, 40, 120, 200)]
    np.testing.assert_allclose(rates, [0.0, 0.2, 0.4, 0.2, 0.0], atol=1e-6)


def test_adamw_shrinks_kernels_only():
    """Where no gradient comes, a kernel loses rate x decay of itself; biases, norms and tables stay."""
    model = pair(gate_hidden=4)
    optimizer = TrainingStage(1, 0.1, "adamw", weight_decay=0.5, warmup=0.5).make_optimizer(4)
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(2)
    before = snapshot(model)
    optimizer.apply([tf.zeros(v.shape) for v in model.trainable_variables], model.trainable_variables)
    for path, after in snapshot(model).items():
        shrinks = path.endswith("kernel")
        np.testing.assert_allclose(after, before[path] * (0.95 if shrinks else 1.0), rtol=1e-6)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("epochs", value) for value in (0, -1, 1.5, True, "1", None, float("nan"))],
        *[("learning_rate", value) for value in (0, -1.0, float("nan"), float("inf"), "0.1", None)],
        *[("batch_size", value) for value in (0, 2.0, None)],
        *[("warmup", value) for value in (-0.1, 1.1, float("nan"))],
        *[("cycles", 0), ("augment", "spin"), ("augment", "shift:1e9"), ("augment", None), ("clip_norm", 0)],
        *[("weight_decay", -1), ("mixup", float("nan")), ("image_size", 32), ("image_size", (0, 8))],
        *[("seconds", 0), ("seconds", float("inf")), ("trainer", None), ("trainer", {1: 2})],
    ],
)
def test_values_that_a_stage_cannot_have(field, value):
    with pytest.raises(ValueError, match=f"{field} must be|augmentation 's"):
        TrainingStage(**{"epochs": 1, "learning_rate": 0.1, field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *[("name", ""), ("name", None), ("data", 3), ("model", "m"), ("stage1", None), ("stage2", {}), ("seed", -1)],
        *[("seed", 2**32), ("seed", 1.0), ("held_out", 0), ("held_out", 1.0), ("held_out", float("nan"))],
        *[("train_images", 0), ("calibration", 3), ("calibration", (0, 5)), ("calibration_augment", "spin")],
        *[("head_images", -1), ("order_images", -1), ("tolerance", float("nan"))],
        *[("precision", "float16"), ("data_terms", None), ("licence", 1), ("labels", "abc"), ("labels", (1,))],
    ],
)
def test_values_that_an_experiment_cannot_have(field, value):
    good = {"name": "a", "data": "digits", "model": pair, "stage1": TrainingStage(1, 0.1), "stage2": None}
    Experiment(**good)
    with pytest.raises(ValueError, match=f"{field} must be|augmentation 's"):
        Experiment(**{**good, field: value})


OTHER = "class Other(BaseException): pass\nraise Other"


@pytest.mark.parametrize(
    ("made", "message"), [(None, "returns NoneType"), (1 / 3, "returns float"), ([], "fails: Ind")]
)
def test_a_model_that_is_none(tmp_path, made, message):
    def model(classes, shape):
        return made[classes] if made == [] else made

    bad = Experiment(name="a", data="digits", model=model, stage1=TrainingStage(1, 0.1), stage2=None)
    with pytest.raises(ValueError, match=f"model of 'a' .*{message}"):
        run(bad, tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "exit()",
        "raise SystemExit('bye\\nbye')",
        "1 / 0",
        "(",
        "import nothing_of_this_name",
        "def f(): f()\nf()",
        OTHER,
    ],
)
def test_a_config_that_ends_or_raises(tmp_path, text):
    (tmp_path / "config.py").write_text(text)
    with pytest.raises(ValueError, match="config .*config.py' does not run: ") as error:
        read_experiment(tmp_path / "config.py")
    assert len(str(error.value).splitlines()) == 1


def test_bad_optimizers():
    with pytest.raises(ValueError, match="optimizer must be 'sgd', 'adam' or 'adamw', received 'lion'"):
        TrainingStage(1, 0.1, "lion").make_optimizer(10)
    with pytest.raises(ValueError, match="weight_decay of a stage belongs to optimizer='adamw', received 0.1 with 'sg"):
        TrainingStage(1, 0.1, weight_decay=0.1).make_optimizer(10)


def test_schedule_restarts():
    """Each cycle is the schedule of a stage of its length."""
    twice, once = TrainingStage(2, 0.4, cycles=2).make_optimizer(200), TrainingStage(1, 0.4).make_optimizer(100)
    for step in (0, 10, 15, 50, 99):
        twice.iterations.assign(100 + step)
        once.iterations.assign(step)
        assert float(twice.learning_rate) == float(once.learning_rate)
    with pytest.raises(ValueError, match="cycles must be at least 1, received 0"):
        TrainingStage(1, 0.4, cycles=0).make_optimizer(10)


def test_experiments_are_checked():
    stage = TrainingStage(1, 0.1)
    with pytest.raises(ValueError, match="train_images must be at least 1, received 0"):
        Experiment("a", "digits", pair, stage, None, train_images=0)
    with pytest.raises(ValueError, match=r"stage2: mixup must be 0, received 0\.2"):
        Experiment("a", "digits", pair, stage, TrainingStage(1, 0.1, mixup=0.2))


def test_restarts_end_at_the_end():
    """Steps that no cycle has room for keep the last rate; the schedule is saved with its optimizer."""
    optimizer = TrainingStage(1, 0.4, cycles=3).make_optimizer(20)
    rates = []
    for step in range(21):
        optimizer.iterations.assign(step)
        rates.append(float(optimizer.learning_rate))
    assert [step for step, rate in enumerate(rates) if rate == pytest.approx(0.4)] == [1, 7, 13]
    assert rates[18:] == pytest.approx([0, 0, 0], abs=1e-6)
    twin = type(optimizer).from_config(optimizer.get_config())
    twin.iterations.assign(8)
    assert float(twin.learning_rate) == rates[8]


SMALL = Experiment(  # one epoch of each stage, two levels
    name="small",
    data="digits",
    model=lambda classes, shape: DSMobileNet(
        4, (Stage(6, 1), Stage((4, 16), 1, 2, gate=True)), classes, shape, stem_stride=1, gate_hidden=4, attention=False
    ),
    stage1=TrainingStage(1, 0.05, batch_size=64),
    stage2=TrainingStage(1, 3e-3, "adam", 64, trainer={"target": None}),
)


def test_the_preset_is_measured_in_the_precision_that_it_loads_in(tmp_path):
    """Trained in bfloat16, its figures are those of the float32 model that ``zoo.load`` gives."""
    stage1 = replace(SMALL.stage1, trainer={"objective": "ce", "num_random": 0})
    experiment = replace(SMALL, stage1=stage1, stage2=None, calibration=(2, 64), precision="mixed_bfloat16")
    with without_tracing():
        metrics = run(replace(experiment, train_images=128), tmp_path, verbose=0)
    assert metrics["precision"].startswith("mixed_bfloat16 in training")
    assert keras.config.dtype_policy().name == "float32"
    test = data.digits()["test"]
    with without_tracing():
        figures = evaluate(zoo.load(tmp_path / "preset"), test.images(), test.labels)
    assert figures == {key: metrics[key] for key in ("levels", "policies")}


@pytest.mark.parametrize("trainer", [{"num_random": "two"}, {"no_such": 1}])
def test_bad_trainer_arguments_are_named(tmp_path, trainer):
    experiment = Experiment(
        name="bad",
        data="digits",
        model=lambda classes, shape: DSMobileNet.tiny(classes, shape),
        stage1=TrainingStage(1, 0.05, trainer=trainer),
        stage2=None,
    )
    with pytest.raises(ValueError, match=r"no_such|num_random must be an integer"):
        run(experiment, tmp_path, verbose=0)
    assert not list(tmp_path.glob("stage1/*"))


def test_a_refused_experiment_leaves_its_directory_to_the_next(tmp_path):
    experiment = Experiment(
        name="small",
        data="digits",
        model=lambda classes, shape: DSMobileNet.tiny(classes, shape),
        stage1=TrainingStage(1, 0.05, batch_size=4000),
        stage2=None,
        held_out=280,
        data_terms="",
        licence="",
    )
    message = "stage1: batch_size must be at most the number of training images, received 4000 for 1157 images"
    with pytest.raises(ValueError, match=message):
        Run(experiment, tmp_path)
    small = replace(experiment, stage1=TrainingStage(1, 0.05, batch_size=40))
    with pytest.raises(ValueError, match=r"labels must name 10 classes \(0, 1, .*\), received \('zero',\)"):
        Run(replace(small, labels=("zero",)), tmp_path)
    names = tuple(f"digit {k}" for k in range(10))
    assert Run(replace(small, labels=names), tmp_path).model.labels == list(names)


def test_a_part_of_the_data_may_be_held_out(tmp_path):
    sets = data.digits()
    sets["val"], sets["test"] = sets["test"].split(100)
    stage = TrainingStage(1, 0.05, batch_size=40)
    model = lambda classes, shape: DSMobileNet.tiny(classes, shape)  # noqa: E731
    experiment = Experiment("small", "digits", model, stage, None, held_out="val")
    run = Run(experiment, tmp_path, sources=sets)
    assert len(run.train) == len(sets["train"]) and len(run.held_out) == len(sets["val"])
    assert set(run.sources) == {"train", "test"}
    found = facts(run, "command", {}, sets["test"], "thresholds")
    assert found["chosen_on"] == f"{len(sets['val'])} held-out images, the part 'val' of the data (thresholds)"
    with pytest.raises(ValueError, match=r"held_out must be one of \['val'\], a number or a share, received 'x'"):
        replace(experiment, held_out="x").divide(sets)


@pytest.mark.parametrize("wrong", [{"checkpoint_every": 0}, {"max_steps": 0}, {"max_steps": 1.5}])
def test_numbers_that_are_no_counts(tmp_path, wrong):
    with pytest.raises(ValueError, match=f"{next(iter(wrong))} must be a positive integer, received"):
        Run(None, tmp_path, **wrong)
