"""The command ``ds-keras quantize``, from a checkout: see ``python tools/quantize.py --help``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main("quantize")
