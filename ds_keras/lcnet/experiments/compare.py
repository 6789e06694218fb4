"""Paired comparisons of recipes for LC-ResNets: what the decisions are worth beside the same units for all images."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from absl import logging

from ds_keras import data, zoo
from ds_keras.core.files import expanded, read_json, write_json
from ds_keras.experiments import Experiment
from ds_keras.experiments.policy_scores import paired
from ds_keras.experiments.run import Run, settings
from ds_keras.lcnet.evaluation import evaluate_lc, fixed_top1
from ds_keras.lcnet.model import LCResNet
from ds_keras.lcnet.trainer import LCTrainer

VALUES = ("share", "dynamic", "fixed", "shuffled", "worth")  # of a run


def compare(
    variants: dict[str, Experiment],
    workdir: str | os.PathLike,
    seeds: Sequence[int] = (0, 1, 2),
    max_steps: int | None = None,
    command: str = "",
    verbose: Any = "auto",
) -> dict[str, Any]:
    """Trains every variant from every seed (its Stage I alone), and scores it on the held-out images.

    These are the first variant's, the same for all seeds, so that a network that starts from a trained one has not seen
    them. Runs that are done are not repeated, those that were killed go on.

    Args:
        variants: experiments on an ``LCResNet`` by name, with the same data.
        workdir: gets a directory for each run, with the trained network as a preset ("network"), and
            ``comparison.json``.
        seeds: of the runs.
        max_steps: stop each run after so many steps.
        command: recorded.
        verbose: of ``keras.Model.fit``.

    Returns:
        {"command", "images", "seeds", "rows"}: a row for each variant with "variant", "kind" ("L-Net", "C-Net" or
        "LC-Net"), "madds" of the whole network, and for each of share (of the whole network's MAdds), dynamic, fixed
        and shuffled (top-1 in percent, see ``ABOUT_LC``; fixed at exactly the same cost) and worth (dynamic - fixed)
        the mean over the seeds, its standard deviation ("_sd") and every seed's ("_seeds").

    Raises:
        ValueError: no variant or no seed, another network, or bad arguments.

    Example:
        >>> compare({"plain": experiment, "constant": other}, "runs/lc")["rows"]
    """
    if not variants or not seeds:
        raise ValueError(f"variants and seeds must not be empty, received {variants!r} and {seeds!r}")
    workdir, first = expanded(workdir), next(iter(variants.values()))
    train, held_out = first.divide(data.load(first.data))
    sources = {"train": train, "held_out": held_out}
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in variants}
    for seed in seeds:  # seed by seed, so that an interrupted comparison is paired as far as it went
        for name, experiment in variants.items():
            one = replace(experiment, seed=int(seed), held_out="held_out")
            with settings(one):
                rows[name].append(_score(one, workdir / f"{name}-{seed}", max_steps, verbose, sources))
            logging.info("%s, seed %d: %s", name, seed, {key: rows[name][-1][key] for key in VALUES})
    result = {
        "command": command,
        "images": len(held_out),
        "seeds": list(seeds),
        "complete": max_steps is None,
        "rows": [_row(name, found) for name, found in rows.items()],
    }
    write_json(workdir / "comparison.json", result)
    return result


def kind(model: LCResNet) -> str:
    """What an image may skip: "L-Net" (blocks), "C-Net" (groups of channels), "LC-Net" (both) or "" (nothing)."""
    blocks, groups = any(block.layers for block in model.blocks), bool(model.table["groups"])
    return {(True, False): "L-Net", (False, True): "C-Net", (True, True): "LC-Net"}.get((blocks, groups), "")


def _score(experiment: Experiment, workdir: Any, max_steps: int | None, verbose: Any, sources: Any) -> dict[str, Any]:
    """Trains a variant, and its figures on the held-out images; kept beside the run."""
    path, holds_for = workdir / "score.json", {"max_steps": max_steps}
    run = Run(experiment, workdir, max_steps=max_steps, verbose=verbose, sources=sources)  # refuses another recipe's
    known = read_json(path) if path.exists() else {}
    if known.items() >= holds_for.items():
        return known
    if not isinstance(run.model, LCResNet) or not run.model.units:
        raise ValueError(f"model of {experiment.name!r} must be an LCResNet that skips something")
    trainer = run.make_trainer(experiment.stage1, "stage1", LCTrainer)
    seconds = run.fit("stage1", experiment.stage1, trainer)
    trainer.calibrate(run.calibration_batches())
    model, (x, labels) = run.deployed(), run.labelled("held_out")
    found = evaluate_lc(model, x, labels)
    by_name = {row["run"]: row for row in found["runs"]}
    dynamic, fixed = by_name["dynamic"], fixed_top1(model, x, labels)
    score = {
        **holds_for,
        "kind": kind(model),
        "madds": model.madds,
        "seconds": round(seconds),
        "share": dynamic["share"],
    }
    score |= {"dynamic": dynamic["top1"], "fixed": fixed, "shuffled": by_name["shuffled"]["top1"]}
    score |= {"worth": dynamic["top1"] - fixed, "spread": found["spread"], "units": found["units"]}
    zoo.save(model, workdir / "network")
    write_json(path, score)
    return score


def _row(name: str, scores: list[dict[str, Any]]) -> dict[str, Any]:
    row = {"variant": name, "kind": scores[0]["kind"], "madds": scores[0]["madds"]}
    for value in VALUES:
        found = [score[value] * (100 if value == "share" else 1) for score in scores]
        of_all = paired(found, None)
        row |= {value: of_all["mean"], f"{value}_sd": of_all["sd"], f"{value}_seeds": [round(f, 2) for f in found]}
    return row
