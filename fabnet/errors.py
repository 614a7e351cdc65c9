"""Errors meant for people: one clear line that says what is wrong, where, and what to do."""


class UserError(Exception):
    """Something the user can mend. Commands print it as one line and exit non-zero, without a traceback."""

    exit_code = 1


class ConfigError(UserError):
    """params.yaml (or an option) asks for something unknown or impossible. The message names the key."""

    exit_code = 2


class TableError(UserError):
    """A table does not follow its contract. The message names the file, the column and the first bad rows."""
