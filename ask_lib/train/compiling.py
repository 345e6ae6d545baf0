"""``torch.compile`` where it cannot: one line that says why, in place of the compiler's own two hundred."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ask_lib.train.errors import RecipeError


@contextlib.contextmanager
def explained(compiled: bool) -> Iterator[None]:
    """Inside, a failure of torch's compiler is a recipe's error.

    Args:
        compiled: Whether anything is compiled inside; else the compiler is not even imported.

    Raises:
        RecipeError: If torch cannot compile what is called inside.
    """
    if not compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except TorchDynamoException as error:
        # The message's first paragraph has the reason; the rest speaks to torch's developers.
        reason = " ".join(str(error).split("\n\n")[0].split())
        raise RecipeError(
            f"compile: torch could not compile the network ({reason}). On a CPU it needs a C++ compiler (g++ or "
            "clang++), on a GPU Triton as well. Install what is missing, or set compile=false."
        ) from None
