"""An experiment on an LC-ResNet: the network alone, then with its predictors; and the preset that comes out."""

from dataclasses import replace
from typing import Any

from ds_keras import zoo
from ds_keras.experiments.preset import facts
from ds_keras.experiments.run import Run
from ds_keras.experiments.runner import train
from ds_keras.lcnet.evaluation import evaluate_lc, fixed_scales, whole_row
from ds_keras.lcnet.model import LCResNet
from ds_keras.lcnet.trainer import LCTrainer
from ds_keras.zoo.cards import render


@train.register
def train_lc(model: LCResNet, run: Run, command: str) -> dict[str, Any]:
    """Trains both stages, reads the test set, writes the preset.

    Args:
        model: ``run.model``.
        run: the run. Stage I trains it whole (``target=None``), Stage II,
            where the experiment has one, towards the ``target`` of its ``trainer``. Of a network that starts from
            trained weights, Stage I may have the ``target``, and there is no Stage II.
        command: for the card.

    Returns:
        The preset's metrics.
    """
    experiment = run.experiment
    if experiment.stage1.trainer.get("target") is not None and experiment.stage2 is not None:
        raise ValueError(f"stage1: target must be None, received {experiment.stage1.trainer['target']!r}")
    stage1 = replace(experiment.stage1, trainer={"target": None, **experiment.stage1.trainer})
    stages = {"stage1": stage1} | ({} if experiment.stage2 is None else {"stage2": experiment.stage2})
    trainers = {name: run.make_trainer(stage, name, LCTrainer) for name, stage in stages.items()}
    seconds, networks = {}, [run.model.clone("float32")] if stage1.trainer["target"] is not None else []
    for name, trainer in trainers.items():
        seconds[name] = run.fit(name, stages[name], trainer)
        trainer.calibrate(run.calibration_batches())
        networks.append(run.model.clone("float32"))
    whole, model = networks[0], networks[-1]
    fixed = fixed_scales(model, run.x_held) if model.units else None
    parts, found = ["held_out", *sorted(set(run.sources) - {"train"})], {}
    for part in parts:
        images, labels = run.labelled(part)
        found[part] = {"images": len(labels), **evaluate_lc(model, images, labels, fixed)}
        found[part]["runs"].append(whole_row(whole, images, labels))
    test = run.trial(run.sources["test"])
    metrics = {**facts(run, command, seconds, test, "recipe, and which units run in 'fixed'"), **found.pop("test")}
    metrics |= {"held_out": found.pop("held_out"), "fixed": None if fixed is None else [float(f) for f in fixed]}
    if found:
        metrics["also"] = found
    zoo.save(model, run.workdir / "preset", metrics, render(model, metrics))
    return metrics
