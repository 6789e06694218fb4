"""``python -m ds_keras``: the same as ``ds-keras``."""

from ds_keras.cli.program import main

if __name__ == "__main__":
    main()
