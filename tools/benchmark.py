"""The command ``ds-keras benchmark``, from a checkout: see ``python tools/benchmark.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("benchmark")
