"""The command ``ds-keras train``, from a checkout: see ``python tools/train.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("train")
