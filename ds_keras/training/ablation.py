"""Paired comparisons of Stage I: variants of one experiment, trained from the same seeds on the same batches."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from absl import logging

from ds_keras import data
from ds_keras.files import write_json
from ds_keras.training.experiment import Experiment
from ds_keras.training.runner import Session, settings


def ablate(
    experiment: Experiment,
    workdir: str | os.PathLike,
    variants: dict[str, dict[str, Any]],
    seeds: Sequence[int] = (0, 1, 2),
    max_steps: int | None = None,
    split: str = "held_out",
    command: str = "",
    verbose: Any = "auto",
) -> dict[str, Any]:
    """Runs Stage I and the calibration for every variant and seed, and scores every level.

    A seed fixes weights, data order, augmentation, drawn levels and the held-out part for all variants. Runs that are
    done are not repeated, those that were killed go on.

    Args:
        experiment: what the variants change; its Stage II is left out.
        workdir: gets a directory for each run, and ``ablation.json``.
        variants: name -> arguments of ``SupernetTrainer`` that replace the experiment's; the first is compared with.
        seeds: of the runs.
        max_steps: stop each run after so many steps.
        split: images to score on: "held_out", or a part of the data ("test"), with which nothing should be chosen.
        command: recorded.
        verbose: of ``keras.Model.fit``.

    Returns:
        {"command", "experiment", "split", "epochs", "train_images", "complete", "seeds", "rows"}: a row for each
        variant and level that it trains, with "top1" (percent, of every seed), "mean", "sd", "difference" (to the first
        variant, mean of the seeds; None where that one does not train the level) and "difference_sd"; sd is the sample
        standard deviation, None for a single seed.

    Raises:
        ValueError: no variant or no seed, an unknown split, or bad arguments of a trainer.

    Example:
        >>> ablate(experiment, "runs/ablation", {"ib": {}, "ce": {"objective": "ce"}})
    """
    if not variants or not seeds:
        raise ValueError(f"variants and seeds must not be empty, received {variants!r} and {seeds!r}")
    workdir, sources = Path(workdir), data.load(experiment.data)
    if split not in ("held_out", *sources):
        raise ValueError(f"split must be 'held_out' or one of {sorted(sources)}, received {split!r}")
    stages = {
        name: replace(experiment.stage1, trainer={**experiment.stage1.trainer, **arguments})
        for name, arguments in variants.items()
    }

    def session(name: str, seed: int) -> Session:
        run = replace(experiment, stage1=stages[name], stage2=None, seed=int(seed))
        return Session(run, workdir / f"{name}-{seed}", max_steps=max_steps, verbose=verbose, sources=sources)

    with settings(experiment):
        for name in variants:  # bad arguments are refused before anything is trained
            first = session(name, seeds[0])
            first.supernet_trainer()
    scores = {name: [] for name in variants}
    for seed in seeds:  # seed by seed, so that an interrupted comparison is paired as far as it went
        for name in variants:
            with settings(replace(experiment, seed=int(seed))):
                scores[name].append(_score(session(name, seed), split))
            logging.info("%s, seed %d: %s top-1 %s", name, seed, split, scores[name][-1])
    trained = {name: stage.trainer.get("levels") or range(len(scores[name][0])) for name, stage in stages.items()}
    base = next(iter(variants))
    result = {
        "command": command,
        "experiment": experiment.name,
        "split": split,
        "epochs": experiment.stage1.epochs,
        "train_images": len(first.train),
        "complete": max_steps is None,
        "seeds": list(seeds),
        "rows": [
            _row(name, level, scores[name], scores[base] if level in trained[base] else None)
            for name in variants
            for level in trained[name]
        ],
    }
    write_json(workdir / "ablation.json", result)
    return result


def _score(session: Session, split: str) -> list[float]:
    """Top-1 of every level in percent; kept beside the run, with what it holds for."""
    path = session.workdir / f"{split}.json"
    holds_for = {"max_steps": session.max_steps}
    if path.exists() and (known := json.loads(path.read_text())).items() >= holds_for.items():
        return known["top1"]
    session.train_supernet()
    top1 = [row["top1"] for row in session.score_levels(split)]
    write_json(path, {**holds_for, "top1": top1})
    return top1


def _row(name: str, level: int, scores: list[list[float]], first: list[list[float]] | None) -> dict[str, Any]:
    top1 = np.array([run[level] for run in scores])
    values = {"mean": top1.mean(), "sd": _sd(top1), "difference": None, "difference_sd": None}
    if first is not None:
        difference = top1 - np.array([run[level] for run in first])
        values |= {"difference": difference.mean(), "difference_sd": _sd(difference)}
    rounded = {key: None if value is None else round(float(value), 2) for key, value in values.items()}
    return {"variant": name, "level": level, "top1": top1.tolist(), **rounded}


def _sd(values: np.ndarray) -> float | None:
    return float(values.std(ddof=1)) if len(values) > 1 else None
