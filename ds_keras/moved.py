"""Old names of modules and of what they held: they work until the next release, with a DeprecationWarning."""

import importlib
import importlib.abc
import importlib.machinery
import sys
import warnings
from types import ModuleType
from typing import Any

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
    "models.lc_block": "lcnet.block",
    "models.lc_cost": "lcnet.cost",
    "models.lc_resnet": "lcnet.model",
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
    "training.comparison": "experiments.comparison",
    "training.experiment": "experiments.config",
    "training.lc": "lcnet.trainer",
    "training.lc_run": "lcnet.run",
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
}
NAMES = {  # names of a room that lie in another one now
    "training.Experiment": "experiments.Experiment",
    "training.Stage": "experiments.TrainingStage",
    "experiments.Stage": "experiments.TrainingStage",
    "training.read_experiment": "experiments.read_experiment",
    "layers.Compute": "core.visitor.Compute",
    "layers.Shapes": "core.visitor.Shapes",
    "layers.SliceableBlock": "core.visitor.SliceableBlock",
    "layers.Walk": "core.visitor.Visitor",
}
RENAMED = {  # what has another name in the module that it moved to
    "export.tflite.source.Networks": "ExportSource",
    "export.tflite.split_body.body_of": "split_body",
    "export.tflite.template.pack": "make_template",
    "core.visitor.Walk": "Visitor",
    "experiments.config.Stage": "TrainingStage",
    "experiments.run.Session": "Run",
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


def _warn(old: str, new: str) -> None:
    warnings.warn(f"{old} is {new} now; the old name goes with the next release", DeprecationWarning, stacklevel=3)
