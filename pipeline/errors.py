"""Every exception of the product, drawn as a tree, each with its exit code.

    FieldsiftError                      70  our own fault, unless a branch below says otherwise
    ├── UsageError                       2  the call, the configuration or a schema is wrong; nothing was sent
    │   ├── ConfigError                     pipeline.toml, a flag, a FIELDSIFT_ variable
    │   └── SchemaError                     a schema that isn't one
    ├── SetupError                       4  the environment: no key, a key refused, an extra missing, disk full
    │   ├── KeyRefused                      the service does not accept the key
    │   ├── Unreachable                     the service can't be reached at all
    │   └── StateError                      ledger or replies can't be used, or another run has them
    │       └── DamagedState                    something of them is lost; `run --rebuild` saves the rest
    ├── NoInput                          5  nothing matched the input
    ├── Stopped                          3  the run stopped early; the same command continues
    │   ├── BudgetReached                   the next call could pass the money cap
    │   └── QuotaReached                    a quota per day; waiting seconds does not help
    │       └── PaymentNeeded                   no money left, a spend cap, no billing; waiting does not help at all
    ├── Fault                           70  our own fault in the work on one document, with what was paid before it
    ├── Interrupted                    130  the run was told to stop before this was sent; nothing is kept of it
    └── DocumentError                    1  one document's trouble: it becomes a Result, the run goes on
        ├── LoadError                       the file can't be read; `reason` is its kind
        ├── ReplyError                      the service's answer can't be used; `reason` is its kind
        │   ├── GaveUp                      it was sent as often as is allowed; another endpoint may answer
        │   ├── Transient                   may pass; the gate sends it again, a bounded number of times
        │   └── ContentRefused              the service does not want this content; its Result is `refused`
        ├── FunctionFailed                  a Python function that is a stage gave no result
        └── NotRecorded                     a recording or `--offline` has no answer for this request

The exit codes are those of the command line's table in README.md; a run that
meets several takes the first of 130, 70, 4, 3, 1, 0.
"""

from collections.abc import Iterable
from typing import Any, Self


class FieldsiftError(Exception):
    """The root: every error that this product raises on purpose.

    Attributes:
        attempts: the answers that were paid for before it (`results.Attempt`), in their order.

    """

    exit_code = 70
    attempts: tuple[Any, ...] = ()

    def after(self, attempts: Iterable[Any]) -> Self:
        """The same error with these attempts; one error can end several questions, so that it isn't changed."""
        same = type(self).__new__(type(self), *self.args)
        same.__dict__ |= self.__dict__ | {"attempts": tuple(attempts)}
        return same


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
    """The state folder can't be used: damaged, of a newer version, on a network, or in use by another run."""


class DamagedState(StateError):
    """Something of ledger or replies is lost or changed; `run --rebuild` saves all that is sound."""


class NoInput(FieldsiftError):
    """A folder or pattern was named and nothing in it is a document."""

    exit_code = 5


class Stopped(FieldsiftError):
    """The run stopped early on purpose; the same command continues."""

    exit_code = 3


class BudgetReached(Stopped):
    """The highest cost of the next call does not fit under the money cap."""


class QuotaReached(Stopped):
    """A quota per day is used up, or the tier has none."""


class PaymentNeeded(QuotaReached):
    """The account has no money left, has met its spend cap, or was never paid for."""


class Fault(FieldsiftError):
    """A fault of our own in the work on one document; `__cause__` is what happened, `attempts` what was paid before."""


class Interrupted(FieldsiftError):
    """The run was told to stop; what was not yet sent is not sent."""

    exit_code = 130


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


class GaveUp(ReplyError):
    """A failure that could have passed did not, in all tries; `reason` is that of the last one."""


class ContentRefused(ReplyError):
    """The service refuses the content by its rules. Its Result has the status `refused`."""


class FunctionFailed(DocumentError):
    """A Python function that is a stage raised something, took too long, or gave what is no JSON. Its Result is `failed`."""

    def __init__(self, message: str) -> None:
        super().__init__("function_error", message)


class NotRecorded(DocumentError):
    """No stored answer for a request that must not be sent."""

    def __init__(self, message: str) -> None:
        super().__init__("not_recorded", message)


class Transient(ReplyError):
    """A failure that may pass: the request can be sent again.

    Attributes:
        wait: seconds that the service asks everybody to wait, or None.
        billed: whether the service may have worked on it (the answer was lost on the way).
        quota: the quota of a minute that it names: `requests`, `tokens`, or nothing.

    """

    def __init__(
        self,
        reason: str,
        message: str,
        *,
        wait: float | None = None,
        billed: bool = False,
        quota: str = "",
    ) -> None:
        super().__init__(reason, message)
        self.wait = wait
        self.billed = billed
        self.quota = quota
