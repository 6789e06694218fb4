"""The command ``ds-keras export``, from a checkout: see ``python tools/export.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("export")
