"""Every exception of the product, drawn as a tree, each with its exit code.

    FieldsiftError                      70  our own fault, unless a branch below says otherwise
    ├── UsageError                       2  the call, the configuration or a schema is wrong; nothing was sent
    │   ├── ConfigError                     pipeline.toml, a flag, a FIELDSIFT_ variable
    │   └── SchemaError                     a schema that isn't one
    ├── SetupError                       4  the environment: no key, a key refused, an extra missing, disk full
    │   ├── KeyRefused                      the service does not accept the key
    │   ├── Unreachable                     the service can't be reached at all
    │   └── StateError                      ledger or replies damaged, or in use by another run
    ├── NoInput                          5  nothing matched the input
    ├── Stopped                          3  the run stopped early; the same command continues
    │   ├── BudgetReached                   the next call could pass the money cap
    │   └── QuotaReached                    a quota per day or a spend cap; waiting seconds does not help
    └── DocumentError                    1  one document's trouble: it becomes a Result, the run goes on
        ├── LoadError                       the file can't be read; `reason` is its kind
        ├── ReplyError                      the service's answer can't be used; `reason` is its kind
        │   └── Transient                   may pass; the gate sends it again, a bounded number of times
        └── NotRecorded                     a recording or `--offline` has no answer for this request

The exit codes are those of the command line's table in README.md; a run that
meets several takes the first of 130, 70, 4, 3, 1, 0.
"""


class FieldsiftError(Exception):
    """The root: every error that this product raises on purpose."""

    exit_code = 70


class UsageError(FieldsiftError):
    """The call is wrong; nothing was sent."""

    exit_code = 2


class ConfigError(UsageError):
    """A pipeline file, a flag or a FIELDSIFT_ variable is wrong."""


class SchemaError(UsageError):
    """A schema can't be found, parsed, or is not a JSON Schema."""


class SetupError(FieldsiftError):
    """The environment is not ready: a key, an extra, a service, the disk."""

    exit_code = 4


class KeyRefused(SetupError):
    """The service does not accept the key."""


class Unreachable(SetupError):
    """The service can't be reached before the first answer."""


class StateError(SetupError):
    """The state folder can't be used: damaged, or in use by another run."""


class NoInput(FieldsiftError):
    """A folder or pattern was named and nothing in it is a document."""

    exit_code = 5


class Stopped(FieldsiftError):
    """The run stopped early on purpose; the same command continues."""

    exit_code = 3


class BudgetReached(Stopped):
    """The highest cost of the next call does not fit under the money cap."""


class QuotaReached(Stopped):
    """A quota per day, or the provider's spend cap, is used up."""


class DocumentError(FieldsiftError):
    """The trouble of one document; it becomes a Result and the run goes on.

    Attributes:
        reason: the machine-readable kind, e.g. `encrypted`, `not_json`, `http_503`.

    """

    exit_code = 1

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class LoadError(DocumentError):
    """A file that can't be read. Its Result has the status `unreadable`."""


class ReplyError(DocumentError):
    """An answer that can't be used. Its Result has the status `failed`."""


class NotRecorded(DocumentError):
    """No stored answer for a request that must not be sent."""

    def __init__(self, message: str) -> None:
        super().__init__("not_recorded", message)


class Transient(ReplyError):
    """A failure that may pass: the request can be sent again.

    Attributes:
        wait: seconds that the service asks everybody to wait, or None.
        billed: whether the service may have worked on it (the answer was lost on the way).

    """

    def __init__(
        self, reason: str, message: str, *, wait: float | None = None, billed: bool = False
    ) -> None:
        super().__init__(reason, message)
        self.wait = wait
        self.billed = billed
