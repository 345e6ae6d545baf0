"""What every command line of ours does with a failure that it knows: one line for a person, and an exit status."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable

from ask_lib.errors import AskError

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def exit_status(body: Callable[[], int | None]) -> int:
    """Run a command's body, reading its options and importing torch included.

    Returns:
        What the body returns (none is 0); 2 after one line on stderr for the library's own errors and the system's (a
        full disk, a folder that may not be written); 130 after Ctrl-C. What is our fault keeps its traceback.
    """
    try:
        return body() or 0
    except AskError as error:
        problem = str(error)
    except OSError as error:
        if error.errno is None:
            raise
        problem = describe(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nstopped; what was finished is kept, the same command goes on from there\n")
        return 130
    sys.stderr.write(f"error: {' '.join(problem.splitlines())}\n")
    return 2


def describe(error: OSError) -> str:
    """A system's error for a person: where, what, and what to do."""
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in FULL:
        return f"{where}the disk is full ({error.strerror}). Free some space and run it again."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}may not be written or read ({error.strerror}). Name another place."
    if error.errno in (errno.EEXIST, errno.ENOTDIR):
        return f"{where}expected a folder, found a file or a link that leads nowhere. Name another place."
    return f"{where}{error.strerror}"
