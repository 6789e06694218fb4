"""The flags of one command, apart from those of others and of libraries."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from ds_keras.core.files import check_output, shown

QUOTES = "'"  # absl puts a default into them
LARGEST = 2**31 - 1  # of an integer: TensorFlow, LiteRT and ONNX Runtime take no larger ones everywhere


class Flags(flags.FlagValues):
    """absl's flags, kept in an object of their own instead of the process-wide ``absl.flags.FLAGS``.

    Example:
        >>> FLAGS = Flags()
        >>> FLAGS.string("preset", None, "Preset, alias or directory.", required=True)
        >>> FLAGS.parse(["--preset=ds_mobilenet"])
        >>> FLAGS.preset
        'ds_mobilenet'
    """

    def __init__(self) -> None:
        super().__init__()
        # absl takes attributes for flags
        self.__dict__.update(required=[], rest=[], sources=[], destinations=[], positional_help=None)
        self.set_gnu_getopt(True)  # flags may follow arguments

    def string(self, name: str, default: str | None, text: str, **options: Any) -> None:
        """Defines a flag of text; options: ``required``."""
        self._define(flags.DEFINE_string, name, default, text, **options)

    def destination(self, name: str, default: str | None, text: str, **options: Any) -> None:
        """Defines a flag that names what the command writes; it is refused before the work where that cannot be.

        Options: ``required``; ``file`` where it cannot be a directory.
        """
        self.destinations.append((name, options.pop("file", False)))
        self.string(name, default, text, **options)

    def existing(self, name: str, default: str | None, text: str, **options: Any) -> None:
        """Defines a flag that names a file or a directory to read; it is refused before the work where there is none.

        Options: ``required``.
        """
        self.sources.append(name)
        self.string(name, default, text, **options)

    def integer(self, name: str, default: int | None, text: str, **options: Any) -> None:
        """Defines a flag of an integer; options: ``required``, ``lower_bound``, ``upper_bound``."""
        bounds = {"lower_bound": -LARGEST, "upper_bound": LARGEST}
        self._define(flags.DEFINE_integer, name, default, text, **{**bounds, **options})

    def number(self, name: str, default: float | None, text: str, **options: Any) -> None:
        """Defines a flag of a number; options as of ``integer``."""
        self._define(flags.DEFINE_float, name, default, text, **options)

    def switch(self, name: str, default: bool, text: str) -> None:
        """Defines a flag that is given as ``--name`` or ``--noname``."""
        self._define(flags.DEFINE_bool, name, default, text)

    def choice(self, name: str, default: str | None, values: Sequence[str], text: str, **options: Any) -> None:
        """Defines a flag that takes one of ``values``."""
        self._define(flags.DEFINE_enum, name, default, values, text, **options)

    def words(self, name: str, default: list[str] | None, text: str, **options: Any) -> None:
        """Defines a flag that takes a list, with commas."""
        self._define(flags.DEFINE_list, name, default, text, **options)

    def positional(self, name: str, text: str) -> None:
        """Lets the command take one or more arguments that are no flags: ``rest`` after ``parse``."""
        self.__dict__["positional_help"] = (name, text)

    def repeated(self, name: str, text: str, **options: Any) -> None:
        """Defines a flag of text that may be given more than once."""
        self._define(flags.DEFINE_multi_string, name, None, text, **options)

    def _define(self, function: Callable, name: str, *rest: Any, **options: Any) -> None:
        *values, text = rest
        if options.pop("required", False):  # absl would say "must have a value other than None"
            self.required.append(name)
            text = f"{text} Required."
        function(name, *values, text, flag_values=self, **options)

    def parse(self, arguments: Sequence[str]) -> list[str]:
        """Reads the flags; what an earlier call read is forgotten. "~" at the start of a value is the home directory.

        Args:
            arguments: without the program's name.

        Returns:
            The arguments that are no flags, which ``rest`` keeps.

        Raises:
            ValueError: an unknown or missing flag, a value that it does not take, or an argument too many or too few.
        """
        self.unparse_flags()
        try:
            rest = self(["", *map(_at_home, arguments)])[1:]
        except flags.Error as error:
            raise ValueError(shown(error, 500)) from None
        if missing := [f"--{name}" for name in self.required if self[name].value is None]:
            given = shown(rest[0]) if rest else ""
            hint = f", received {given!r}: did you mean {missing[0]}={given}?" if given else "; see --help"
            raise ValueError(f"needs {' and '.join(missing)}{hint}")
        if rest and self.positional_help is None:
            raise ValueError(f"unexpected argument {rest[0]!r}; see --help")
        if self.positional_help is not None and not rest:
            raise ValueError(f"needs at least one {self.positional_help[0]}; see --help")
        for name in self.sources:
            if self[name].value is not None and not os.path.exists(self[name].value):
                raise ValueError(f"--{name} must be a file or directory, '{shown(self[name].value)}' does not exist")
        for name, file in self.destinations:
            if self[name].value is not None:
                self._check_output(name, self[name].value, file)
        self.__dict__["rest"] = rest
        return rest

    def _check_output(self, name: str, value: str, file: bool) -> None:
        try:
            check_output(value, file)
        except (OSError, ValueError) as error:
            raise ValueError(f"--{name} must be a place to write to, received '{shown(value)}': {error}") from None

    def describe(self) -> str:
        """What ``--help`` says of each flag, in the order of their definition."""
        lines = []
        if self.positional_help is not None:
            lines += [f"  {self.positional_help[0]} ...", f"      {self.positional_help[1]}"]
        for name in self:
            flag = self[name]
            lines.append(f"  --[no]{name}" if flag.boolean else f"  --{name}=...")
            default = "" if flag.default is None else f" (default: {str(flag.default_as_str).strip(QUOTES)})"
            lines.append(flags.text_wrap(f"{flag.help}{default}", 100, "      "))
        return "\n".join(lines)


def _at_home(argument: str) -> str:
    """``--flag=~/file`` with the home directory, which shells put in place of "~" only where an argument begins."""
    flag, mark, value = argument.partition("=")
    return f"{flag}={os.path.expanduser(value)}" if mark and flag.startswith("-") else argument
