"""Errors meant for people: one clear line that says what is wrong, where, and what to do."""


class UserError(Exception):
    """Something the user can mend. Commands print it as one line and exit non-zero, without a traceback."""

    exit_code = 1


class ConfigError(UserError):
    """params.yaml (or an option) asks for something unknown or impossible. The message names the key."""

    exit_code = 2


class TableError(UserError):
    """A table does not follow its contract. The message names the file, the column and the first bad rows."""


def one_line(error: BaseException, longest: int | None = 200) -> str:
    """What an error of another library says, in one line; the name of its type where it says nothing.

    Args:
        error: its message may have several lines, which are joined.
        longest: number of characters after which the text is cut; None keeps all of it.
    """
    return (" ".join(str(error).split()) or type(error).__name__)[:longest]


def first_line(error: BaseException) -> str:
    """The first line of what an error says, where the others only explain it, as those of PyTorch do."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def counted(number: int, what: str, many: str | None = None) -> str:
    """A number with its noun: "1 track", "2 tracks".

    Args:
        number: of them.
        what: in the singular.
        many: in the plural, where that is not `what` with an s.
    """
    return f"{number} {what if number == 1 else many or what + 's'}"
