"""Paired comparisons of training: variants of one experiment, trained from the same seeds on the same batches."""

import os
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

from absl import logging

from ds_keras import data
from ds_keras.core.files import expanded, read_json, write_json
from ds_keras.experiments.config import Experiment, TrainingStage
from ds_keras.experiments.policy_scores import cross_fitted, paired, policy_rows
from ds_keras.experiments.run import Run, settings

STAGE = {field.name for field in fields(TrainingStage)} - {"trainer"}
OTHER = ("stage2", "model", "order_images")  # what a variant may change besides SupernetTrainer's arguments


def ablate(
    experiment: Experiment,
    workdir: str | os.PathLike,
    variants: dict[str, dict[str, Any]],
    seeds: Sequence[int] = (0, 1, 2),
    max_steps: int | None = None,
    split: str = "held_out",
    command: str = "",
    verbose: Any = "auto",
    policies: bool = False,
) -> dict[str, Any]:
    """Trains every variant from every seed (Stage I, calibration, on request Stage II), and scores levels and policies.

    A seed fixes weights, data order, augmentation, drawn levels and the held-out part for all variants. Runs that are
    done are not repeated, those that were killed go on.

    Args:
        experiment: what the variants change.
        workdir: gets a directory for each run, and ``ablation.json``.
        variants: name -> arguments of ``SupernetTrainer`` that replace the experiment's; the first is compared with.
            Besides, "stage2" holds arguments of ``GateTrainer`` and of ``TrainingStage`` (None leaves Stage II out),
            "model" entries of the network's config, and "order_images" the experiment's entry of that name.
        seeds: of the runs.
        max_steps: stop each run after so many steps.
        split: images to score on: "held_out", or a part of the data ("test"), with which nothing should be chosen.
        command: recorded.
        verbose: of ``keras.Model.fit``.
        policies: run Stage II, and score gate and cascade over their whole curves.

    Returns:
        {"command", "experiment", "split", "images", "epochs", "train_images", "complete", "seeds", "rows"}: a row for
        each variant and level that it trains, with "top1" (percent, of every seed), "mean", "sd", "difference" (to the
        first variant, mean of the seeds; None where that one does not train the level) and "difference_sd"; sd is the
        sample standard deviation, None for a single seed. With ``policies`` also "policies": see
        ``policy_scores.policy_rows``.

    Raises:
        ValueError: no variant or no seed, an unknown split, or bad arguments of a trainer.

    Example:
        >>> ablate(experiment, "runs/ablation", {"ib": {}, "ce": {"objective": "ce"}})
    """
    if not variants or not seeds:
        raise ValueError(f"variants and seeds must not be empty, received {variants!r} and {seeds!r}")
    workdir, sources = expanded(workdir), data.load(experiment.data)
    if split not in ("held_out", *sources):
        raise ValueError(f"split must be 'held_out' or one of {sorted(sources)}, received {split!r}")
    changed = {name: _changed(experiment, arguments, policies) for name, arguments in variants.items()}

    def start(name: str, seed: int) -> Run:
        experiment = replace(changed[name], seed=int(seed))
        return Run(experiment, workdir / f"{name}-{seed}", max_steps=max_steps, verbose=verbose, sources=sources)

    with settings(experiment):
        for name in variants:
            first = start(name, seeds[0])
            first.check_stages()
    scores: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for seed in seeds:  # seed by seed, so that an interrupted comparison is paired as far as it went
        for name in variants:
            with settings(replace(experiment, seed=int(seed))):
                scores[name].append(_score(start(name, seed), split, policies))
            logging.info("%s, seed %d: %s top-1 %s", name, seed, split, scores[name][-1]["top1"])
    top1 = {name: [score["top1"] for score in found] for name, found in scores.items()}
    trained = {name: run.stage1.trainer.get("levels") or range(len(top1[name][0])) for name, run in changed.items()}
    base = next(iter(variants))
    result = {
        "command": command,
        "experiment": experiment.name,
        "split": split,
        "images": len(first.labelled(split)[1]),
        "epochs": experiment.stage1.epochs,
        "train_images": len(first.train),
        "complete": max_steps is None,
        "seeds": list(seeds),
        "rows": [
            _row(name, level, top1[name], top1[base] if level in trained[base] else None)
            for name in variants
            for level in trained[name]
        ],
    }
    if policies:
        result["policies"] = policy_rows({name: [score["folds"] for score in found] for name, found in scores.items()})
    write_json(workdir / "ablation.json", result)
    return result


def _changed(experiment: Experiment, arguments: dict[str, Any], policies: bool) -> Experiment:
    """A variant of an experiment."""
    trainer = {name: value for name, value in arguments.items() if name not in OTHER}
    stage1, stage2, model = experiment.stage1, experiment.stage2, experiment.model
    changes = arguments.get("stage2", {})
    if not policies or changes is None or stage2 is None:
        stage2 = None
    else:
        own = {name: value for name, value in changes.items() if name in STAGE}
        others = {name: value for name, value in changes.items() if name not in STAGE}
        stage2 = replace(stage2, **own, trainer={**stage2.trainer, **others})

    def make(classes: int, shape: tuple[int, int, int]) -> Any:
        plain = model(classes, shape)
        return type(plain).from_config({**plain.get_config(), **arguments["model"]})

    stage1 = replace(stage1, trainer={**stage1.trainer, **trainer})
    order = arguments.get("order_images", experiment.order_images)
    changed = make if "model" in arguments else model
    return replace(experiment, stage1=stage1, stage2=stage2, model=changed, order_images=order)


def _score(run: Run, split: str, policies: bool) -> dict[str, Any]:
    """Top-1 of every level in percent, and the policies' curves; kept beside the run, with what they hold for."""
    path = run.workdir / f"{split}.json"
    holds_for = {"max_steps": run.max_steps}
    known = read_json(path) if path.exists() else {}
    if not isinstance(known, dict) or (known and "top1" not in known):
        raise ValueError(f"{path} must hold the scores of this run; remove it to make them again")
    if known.items() >= holds_for.items() and ("folds" in known or not policies):
        return known
    run.train_supernet()
    found = {**holds_for, "top1": [row["top1"] for row in run.score_levels(split)]}
    if policies:
        if (gate := run.gate_trainer()) is not None:
            run.train_gate(gate)
        found["folds"] = cross_fitted(run.deployed(), *run.labelled(split))
    write_json(path, found)
    return found


def _row(name: str, level: int, scores: list[list[float]], first: list[list[float]] | None) -> dict[str, Any]:
    top1 = [run[level] for run in scores]
    base = None if first is None else [run[level] for run in first]
    return {"variant": name, "level": level, "top1": top1, **paired(top1, base)}
