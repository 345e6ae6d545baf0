"""The library's own errors: each says what was expected, what came, and what to do."""


class AskError(Exception):
    """Base of all errors that the library raises for a user's input."""


class ShapeError(AskError, ValueError):
    """A tensor has another shape than the function needs."""


class ChoiceError(AskError, ValueError):
    """A named option is not among those that exist."""


class RangeError(AskError, ValueError):
    """A number lies outside the range where the function is defined."""


class LayerNotFoundError(AskError, KeyError):
    """A network has no layer of that name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class WeightsError(AskError, ValueError):
    """A weight file is missing, unreadable, or does not fit the network."""


class DataNotFoundError(AskError, FileNotFoundError):
    """A data set or a folder is not where it was looked for."""


class DownloadError(AskError, OSError):
    """A file could not be fetched, or is not the file that was meant."""


class CacheError(AskError, OSError):
    """The folder that keeps generated data cannot be read or written."""


class WorkerError(AskError, RuntimeError):
    """A process that shared the work ended before its part was done."""


class ResultError(AskError, ValueError):
    """A file of recorded numbers is damaged, of another kind, or would hold what is no number."""


class ConfigError(AskError, ValueError):
    """A setting has the wrong type, cannot be read, or cannot be met on this machine."""


class NonFiniteError(AskError, ArithmeticError):
    """A loss term, or the weights, became NaN or infinite."""


class CheckpointError(AskError, ValueError):
    """A run's folder cannot be used: another run's, unfinished without ``--resume``, damaged, or of newer code."""
