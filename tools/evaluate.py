"""The command ``ds-keras evaluate``, from a checkout: see ``python tools/evaluate.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("evaluate")
