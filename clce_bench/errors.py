"""The one exception that users are meant to see, and the wording of its usual cases."""

import errno
from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Bad input: shown as one message without a traceback; the process ends with status 2."""


class Interrupted(Exception):
    """Asked to end, with the work so far saved; the process ends with status 75, on which clusters try again."""


_STORAGE = {
    errno.ENOSPC: "the disk is full. Make room and run the same command again: what is finished stays",
    errno.EDQUOT: "the quota is used up. Make room and run the same command again: what is finished stays",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "this user may not read or write it",
    errno.EPERM: "this user may not change it",
}


def storage_problem(error: BaseException) -> str:
    """Says what is wrong with a disk or a permission, if that is what an error is about; else nothing."""
    if not isinstance(error, OSError) or error.errno not in _STORAGE:
        return ""
    return f"{error.filename2 or error.filename or 'a file'}: {_STORAGE[error.errno]}."


def unknown(kind: str, value: str, allowed: Iterable[str], listing: str | None = None) -> str:
    """Says that a name does not exist, with the nearest one that does.

    Args:
        kind: what the name was taken for, with its article ("a loss").
        value: the name as the user wrote it.
        allowed: all names that exist.
        listing: how to list them; all names, sorted, when not given.

    Returns:
        A sentence or more, such as ``'schanne' is not a loss. Did you mean 'schane'? Allowed: ce, clce.``
    """
    names = sorted(map(str, allowed))  # Members of an enum are shown as what they stand for.
    if not names:
        return f"{value!r} is not {kind}: there is none."
    # What cannot be meant here can still be a name elsewhere: nobody is told to write what he wrote.
    others = [name for name in names if name != value]
    same = [name for name in others if name.lower() == value.lower()]
    nearest = same or get_close_matches(value, others, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return f"{value!r} is not {kind}.{hint} {listing or 'Allowed: ' + ', '.join(names)}."
