"""An experiment on an LC-ResNet: the network alone, then with its predictors; and the preset that comes out."""

from typing import Any

from ds_keras import zoo
from ds_keras.evaluation_lc import evaluate_lc, whole_row
from ds_keras.training.lc import LCTrainer
from ds_keras.training.session import Session
from ds_keras.zoo.cards import render


def train_lc(session: Session, command: str) -> dict[str, Any]:
    """Trains both stages, reads the test set, writes the preset.

    Args:
        session: of an experiment whose model is an LC-ResNet. Stage I trains it whole (``target=None``), Stage II,
            where the experiment has one, towards the ``target`` of its ``trainer``.
        command: for the card.

    Returns:
        The preset's metrics.
    """
    experiment = session.experiment
    stages = {"stage1": experiment.stage1, "stage2": experiment.stage2}
    trainers = {name: session.make_trainer(name, LCTrainer) for name, stage in stages.items() if stage is not None}
    parts = ["held_out", *sorted(set(session.sources) - {"train"})]
    seconds, whole = {}, {}
    for name, trainer in trainers.items():
        seconds[name] = session.fit(name, stages[name], trainer)
        trainer.calibrate(session.calibration_batches())
        if name == "stage1":
            whole = {part: whole_row(session.deployed(), *session.labelled(part)) for part in parts}
    model = session.deployed()
    found = {part: evaluate_lc(model, *session.labelled(part)) for part in parts}
    for part, figures in found.items():
        figures["runs"].append(whole[part])
    test = session.trial(session.sources["test"])
    metrics = {**session.facts(command, seconds, test, "recipe"), "held_out": found["held_out"], **found["test"]}
    for part in set(parts) - {"held_out", "test"}:
        metrics.setdefault("also", {})[part] = {"images": len(session.labelled(part)[1]), **found[part]}
    zoo.save(model, session.workdir / "preset", metrics, render(model, metrics))
    return metrics
