"""The command ``ds-keras remeasure``, from a checkout: see ``python tools/remeasure.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("remeasure")
