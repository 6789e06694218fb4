"""What the tools share: bad input is one clear line and exit code 2."""

import sys
from collections.abc import Callable

from absl import app, flags, logging


def run(main: Callable[[list[str]], None], verbose: bool = False) -> None:
    """Runs a tool's ``main``.

    Args:
        main: takes the arguments that are left after the flags.
        verbose: show log lines, not only warnings.
    """

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1:
            _stop(f"unexpected argument {argv[1]!r}; see --help")
        logging.set_verbosity(logging.INFO if verbose else logging.WARNING)
        try:
            main(argv)
        except (ValueError, OSError, ImportError, FloatingPointError) as error:
            _stop(str(error))

    app.run(guarded, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        _stop(str(error))


def _stop(message: str) -> None:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)
