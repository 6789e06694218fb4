"""The command line: ``ds-keras``, or ``python -m ds_keras``. One file for each command, see ``program.COMMANDS``."""
