"""The command ``ds-keras convert``, from a checkout: see ``python tools/convert_checkpoint.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("convert")
