"""The command ``ds-keras report``, from a checkout: see ``python tools/report.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("report")
