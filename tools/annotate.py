"""The command ``ds-keras annotate``, from a checkout: see ``python tools/annotate.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("annotate")
