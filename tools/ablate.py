"""The command ``ds-keras ablate``, from a checkout: see ``python tools/ablate.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("ablate")
