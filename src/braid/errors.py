"""Every error that braid raises for its user. The message is a sentence: what was wrong, where, what to do."""


class BraidError(Exception):
    """Base of all errors that the user can mend; its message needs no traceback."""


class ConfigError(BraidError):
    """The config breaks its schema or refers to something that does not exist."""


class ManifestError(BraidError):
    """The manifest breaks its contract; the message names row and column."""


class MediaError(BraidError):
    """A stream of a clip cannot be read; the message is the reason that is recorded for the clip."""


class TooManyProblems(BraidError):
    """More clips than `max_bad_fraction` allows could not be read."""


class StoreError(BraidError):
    """A shard is truncated, of another format, or lacks what is asked of it; the message names file and cure."""


class WeightsError(BraidError):
    """A weights file is missing, has a wrong checksum or does not fit its network."""


class FeatureError(BraidError):
    """A network gave non-finite numbers or lacks memory, or features do not cover the items that a scheme asks for."""


class TrainingError(BraidError):
    """A scheme cannot be trained on the data that it is given."""


class DivergedError(TrainingError):
    """The loss of a network is no longer finite: its learning rate is too high for it."""


class RunError(BraidError):
    """A run cannot start or be resumed: another one, or what it left, is in its way."""
