"""What can go wrong in a run, said for a person."""

from __future__ import annotations

from ask_lib.errors import AskError


class RecipeError(AskError, ValueError):
    """A recipe's setting has the wrong type or cannot be read."""


class NonFiniteError(AskError, ArithmeticError):
    """A loss term, or the weights, became NaN or infinite."""


class CheckpointError(AskError, ValueError):
    """A run folder cannot be used: another recipe's, unfinished without ``--resume``, or unreadable."""
