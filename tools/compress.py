"""The command ``ds-keras compress``, from a checkout: see ``python tools/compress.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("compress")
