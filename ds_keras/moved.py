"""Old names of modules and of what they held: they work until the next release, with a DeprecationWarning."""

import functools
import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])

MODULES = {  # old: new, both without "ds_keras."
    "backend": "core.backend",
    "benchmark": "benchmarks.supernet",
    "budget": "routing.budget",
    "cascades": "policies.cascade_search",
    "confidence": "policies.confidence",
    "convert_keras": "convert.keras_applications",
    "curves": "routing.replay",
    "data.crop": "data.augment.crop",
    "data.folder": "data.readers.folder",
    "data.idx": "data.readers.idx",
    "data.mix": "data.augment.mix",
    "data.named": "data.readers.named",
    "data.packs": "data.readers.packs",
    "data.recipe": "data.augment.recipe",
    "data.storage": "data.readers.storage",
    "data.tfrecord": "data.readers.tfrecord",
    "data.trivial": "data.augment.trivial",
    "evaluation_lc": "lcnet.evaluation",
    "export.benchmark": "benchmarks.onnx",
    "export.benchmark_lc": "lcnet.benchmark",
    "export.conditional": "lcnet.export",
    "export.cut": "export.tflite.split_body",
    "export.dynamic": "export.tflite.dynamic_range",
    "export.litert": "export.tflite.convert",
    "export.networks": "export.tflite.source",
    "export.onnx_convert": "export.onnx.convert",
    "export.onnx_graph": "export.onnx.graph",
    "export.pack": "export.tflite.template",
    "files": "core.files",
    "labels": "policies.labels",
    "layers.fake_quant": "core.fake_quant",
    "layers.scale_predictor": "lcnet.predictor",
    "layers.sliceable": "core.sliceable",
    "layers.walk": "core.visitor",
    "models.image_model": "core.image_model",
    "lcnet.run": "lcnet.experiments.run",
    "models.lc_block": "lcnet.block",
    "models.lc_cost": "lcnet.cost",
    "models.lc_resnet": "lcnet.model",
    "models.routed": "models.supernet",
    "models.skipping": "lcnet.skipping",
    "parity": "evaluation.parity",
    "runtime.benchmark": "benchmarks.bundle",
    "runtime.graph": "runtime.graph_check",
    "runtime.opening": "benchmarks.opening",
    "slicing": "core.levels",
    "timing": "core.timing",
    "torch_twin": "benchmarks.torch_twin",
    "training.ablation": "experiments.ablation",
    "training.checkpoint": "experiments.checkpoint",
    "training.comparison": "experiments.preset",
    "training.experiment": "experiments.config",
    "training.lc": "lcnet.trainer",
    "training.lc_run": "lcnet.experiments.run",
    "training.loop": "experiments.loop",
    "training.policy_scores": "experiments.policy_scores",
    "training.quantized": "experiments.quantized",
    "training.runner": "experiments.runner",
    "training.session": "experiments.run",
    "zoo.cards_lc": "lcnet.card",
}
HOMES = {  # public names of today that lie in another room: a module, and what a room lends from one above it
    "cost": "core.cost",
    "models.LCResNet": "lcnet.model.LCResNet",
    "training.LCTrainer": "lcnet.trainer.LCTrainer",
    "training.fine_tune": "experiments.fine_tuning.run.fine_tune",
}
NAMES = {  # names of a room that lie in another one now
    "data.augment.uniform": "data.augment.part.draw",
    "data.augment.flip": "data.augment.basic.flip",
    "data.augment.pad_crop": "data.augment.basic.pad_crop",
    "data.augment.shift": "data.augment.basic.shift",
    "data.augment.random_erasing": "data.augment.basic.random_erasing",
    "training.Experiment": "experiments.Experiment",
    "training.Stage": "experiments.TrainingStage",
    "experiments.Stage": "experiments.TrainingStage",
    "training.read_experiment": "experiments.read_experiment",
    "layers.Compute": "core.visitor.Compute",
    "layers.Shapes": "core.visitor.Shapes",
    "layers.SliceableBlock": "core.visitor.SliceableBlock",
    "layers.Walk": "core.visitor.Visitor",
    "policies.ABOUT": "policies.registry.ABOUT",
    "policies.LEARNED": "policies.registry.LEARNED",
    "policies.NO_PASSES": "policies.budget_table.NO_PASSES",
    "policies.NO_TABLE": "policies.budget_table.NO_TABLE",
    "policies.check_belongs": "policies.registry.check_belongs",
    "policies.check_chain": "policies.cascade.check_chain",
    "policies.check_fixed_level": "policies.registry.check_fixed_level",
    "policies.check_policy": "policies.registry.check_policy",
    "policies.knobs_at": "policies.budget_table.settings_at",
    "routing.compile_runs": "routing.execute.compile_runs",
    "routing.margin": "routing.batch.margin",
    "routing.run_levels": "routing.batch.run_levels",
    "routing.shifted": "routing.execute.shifted",
}
RENAMED = {  # what has another name in the module that it moved to
    "export.tflite.source.Networks": "ExportSource",
    "export.tflite.split_body.body_of": "split_body",
    "export.tflite.template.pack": "make_template",
    "core.visitor.Walk": "Visitor",
    "experiments.config.Stage": "TrainingStage",
    "experiments.run.Session": "Run",
    "models.supernet.RoutedInference": "Supernet",
    "routing.budget.knobs_for": "settings_for",
    "routing.replay.Scored": "Predictions",
}


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Gives an old module's name a module that looks everything up in the new one."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        """See the base class."""
        package, _, name = fullname.partition(".")
        if package == "ds_keras" and (name in MODULES or name in HOMES):
            return importlib.machinery.ModuleSpec(fullname, self)
        return None

    def create_module(self, spec: Any) -> None:
        """See the base class."""

    def exec_module(self, module: ModuleType) -> None:
        """See the base class."""
        name = module.__name__.partition(".")[2]
        new = f"ds_keras.{HOMES.get(name) or MODULES[name]}"
        if name in MODULES:
            _warn(module.__name__, new)
        target = importlib.import_module(new)
        module.__doc__ = f"Moved to ``{new}``."
        room = new.partition(".")[2]
        module.__getattr__ = lambda name: getattr(target, RENAMED.get(f"{room}.{name}", name))  # type: ignore


def install() -> None:
    """Makes the old names of modules importable."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())


def attribute(module: str, name: str) -> Any:
    """The ``__getattr__`` of a room from which names have moved.

    Args:
        module: ``__name__`` of the room.
        name: that was asked for.

    Returns:
        What has the name now.

    Raises:
        AttributeError: the room never had such a name.
    """
    key = f"{module.partition('.')[2]}.{name}"
    new = HOMES.get(key) or NAMES.get(key)
    if new is None:
        raise AttributeError(f"module {module!r} has no attribute {name!r}")
    if key in NAMES:
        _warn(f"{module}.{name}", f"ds_keras.{new}")
    home, _, name = new.rpartition(".")
    return getattr(importlib.import_module(f"ds_keras.{home}"), name)


def alias(old: str, new: str) -> Any:
    """A property under the old name of an attribute.

    Args:
        old: name, with its class, for the warning.
        new: name of the attribute.

    Returns:
        The property.

    Example:
        >>> class Session:
        ...     knobs = alias("Session.knobs", "settings")
    """

    def get(self: Any) -> Any:
        _warn(old, new)
        return getattr(self, new)

    def put(self: Any, value: Any) -> None:
        _warn(old, new)
        setattr(self, new, value)

    return property(get, put, doc=f"The old name of ``{new}``.")


def renamed(**names: str) -> Callable[[Function], Function]:
    """Lets a function take an argument under its old name too.

    Args:
        **names: old name of an argument to its new one.

    Returns:
        The decorator.

    Example:
        >>> @renamed(knobs="settings")
        ... def run(model, settings=None): ...
    """

    def decorate(function: Function) -> Function:
        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            for old, new in names.items():
                if old in kwargs:
                    _warn(f"the argument {old} of {function.__name__}()", new)
                    kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return cast(Function, call)

    return decorate


def _warn(old: str, new: str) -> None:
    """Warns who used the old name, and not the package: Python shows such a warning to its author alone."""
    frame = sys._getframe(1)
    while frame.f_back and str(frame.f_globals.get("__name__")).partition(".")[0] in ("ds_keras", "importlib"):
        frame = frame.f_back
    warnings.warn_explicit(
        f"{old} is {new} now; the old name goes with the next release",
        DeprecationWarning,
        frame.f_code.co_filename,
        frame.f_lineno,
        module=frame.f_globals.get("__name__"),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )
