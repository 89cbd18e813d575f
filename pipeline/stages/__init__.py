"""Stage as plain data: what is asked of each document. `tasks.py` has the tasks, `escalation.py` who is asked next."""

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from dataclasses import fields as dataclass_fields
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, get_args, overload

from pipeline import rules, tools
from pipeline.document import Document
from pipeline.errors import UsageError
from pipeline.rules.tree import Node as Condition
from pipeline.schema import Schema
from pipeline.stages import translating
from pipeline.stages.context import Context
from pipeline.stages.escalation import KINDS as KINDS
from pipeline.stages.escalation import Escalation as Escalation
from pipeline.stages.escalation import Kind as Kind
from pipeline.stages.escalation import escalation
from pipeline.stages.functions import check_fed, fingerprint, parameters, schema_of_function
from pipeline.stages.tasks import (
    MADE,
    OF_TASKS,
    PROMPTS_VERSION,
    TASKS,
    WORDS,
    check_settings,
    instructions,
    labelled,
    refused,
    schema_of,
)
from pipeline.stages.tasks import PROMPT as PROMPT
from pipeline.stages.tasks import SYSTEM as SYSTEM
from pipeline.stages.tasks import Keep as Keep
from pipeline.stages.tasks import Task as Task
from pipeline.tools import Function, declared
from pipeline.values.pages import page_numbers

Thinking = Literal["minimal", "low", "medium", "high"]
MediaResolution = Literal["low", "medium", "high"]
ServiceTier = Literal["standard", "flex", "priority"]
#: How much the service may block: `off`, `none` (blocks nothing, reports), `high` (only what is harmful with high probability), `medium`, `low`.
Safety = Literal["off", "none", "high", "medium", "low"]
#: In which form pages of PDFs go; `auto` is the cheapest that keeps the content.
Send = Literal["auto", "text", "pdf", "image"]
_Made = TypeVar("_Made")
#: Tools that a service runs itself.
TOOLS: Final = ("google_search", "url_context", "code_execution")

NAME = re.compile(r"[a-z][a-z0-9_-]*")
#: Names that mean something else where stages are named: the input as a whole, and the columns of a row.
DOCUMENT: Final = "document"
ROW: Final = "row"
_TAKEN: Final = {
    "rejected": "that folder holds the data that did not pass",
    DOCUMENT: "that is what the input itself is called",
    ROW: "that is what the columns of a row are called",
}


def _remembering(made: type[_Made]) -> type[_Made]:
    """Let a dataclass know which of its fields its maker named (`said`), whatever their values; `replace` keeps that."""
    settle: Callable[..., None] = made.__init__
    names = [each.name for each in dataclass_fields(made)]  # type: ignore[arg-type]

    @wraps(settle)
    def init(self: _Made, *values: Any, **settings: Any) -> None:
        settings.setdefault("said", frozenset((*names[: len(values)], *settings)))
        settle(self, *values, **settings)

    made.__init__ = init  # type: ignore[assignment, method-assign]
    return made


@_remembering
@dataclass(frozen=True, slots=True)
class Stage:
    """One question to every document: a task, a schema, and the settings that go to the model.

    `schema` may be given as anything that `Schema.of` takes. `model` is `model`, `provider:model`,
    `local` or `auto`; None takes the run's. `evidence` is `flagged` (a value that is not found is a
    warning) or `required` (an error). Settings that are None are not sent, except
    `max_output_tokens`, which is then estimated from the schema. `fallback` are models that are asked
    when `model` is down. Without `stream`, Google's own services stream answers that may be long: see `prompts.STREAMED_ABOVE`.
    `tools` are those of the service (TOOLS) and Python functions. A value that is less
    sure than `min_confidence` (0..1; see `pipeline.confidence`) is left out. What fails is asked of the same model
    up to `repair` times again (0: never), then of those of `escalate` (an Escalation, a mapping of its fields, or the models alone). With
    `votes = 2` each question is asked twice, and leaves that differ are `conflict`s; equal answers are no proof where
    `seed` or `temperature = 0` force them.
    `validate` are rules over the fields and check digits, as texts and tables like those of the pipeline file (see `pipeline.rules`).
    `pages` (`1-3, 7`, `10-`, `last`) are the only ones that are read, `send` the form in which pages of PDFs go to a service.

    The tasks `classify`, `tag` and `split` have `labels` (names, or a mapping of names to what they mean), `translate` has `to`,
    `source_language` (None: found out), `keep` and `glossary`, and with `fields` (`invoice.lines.description`) translates
    those of earlier stages in place of the document; their schema follows from that. The task `python` has a `function`,
    whose results are kept under its `version`, else under the source of its file and the values that it holds.
    `when` says whether a document goes through the stage (`{"kind": "invoice"}`, or a rule over earlier stages);
    `inputs` what it is shown: `document`, and earlier stages or fields of them; `for_each` what it is asked about, one after
    the other: the items of an earlier array (`invoice.lines`), or `document` again as a whole behind such stages and `split`.
    `context` are files (paths) that every document of the stage is read beside. `pack` is how many short documents share a
    request at most (None: as many as fit, 1: none).

    Raises:
        UsageError: the name is not `[a-z][a-z0-9_-]*`, or a setting is none that there is.
        SchemaError: the schema is not one.

    """

    name: str
    schema: Schema = None  # type: ignore[assignment]  # a Schema once it is made
    task: Task = "extract"
    model: str | None = None
    system: str = ""
    prompt: str = ""
    evidence: Literal["flagged", "required"] = "flagged"
    thinking: Thinking | None = None
    media_resolution: MediaResolution | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    seed: int | None = None
    safety: Safety | None = None
    service_tier: ServiceTier | None = None
    stream: bool | None = None
    tools: tuple[str | Function, ...] = ()
    fallback: tuple[str, ...] = ()
    min_confidence: float = 0.0
    repair: int = 2
    votes: int = 1
    escalate: Escalation | None = None
    validate: tuple[rules.Rule | rules.Check, ...] = ()
    pages: str | None = None
    send: Send = "auto"
    labels: Mapping[str, str] = field(default_factory=dict)
    fields: tuple[str, ...] = ()
    to: str | None = None
    source_language: str | None = None
    keep: tuple[Keep, ...] = ()
    glossary: Mapping[str, str] = field(default_factory=dict)
    function: Function | None = None
    version: str | None = None
    when: str | Mapping[str, Any] | None = None
    inputs: tuple[str, ...] = (DOCUMENT,)
    for_each: str | None = None
    context: tuple[str | Context, ...] = ()
    pack: int | None = None
    #: `when` as `pipeline.graph.wired` read it.
    condition: Condition | None = field(default=None, compare=False, repr=False)
    #: What tells the function from others, as it was when the stage was made.
    identity: str = field(default="", init=False, compare=False, repr=False)
    #: The settings that whoever made it named: they count before those of a profile, also where they are as by default.
    said: frozenset[str] = field(default=frozenset(), compare=False, repr=False)

    if TYPE_CHECKING:
        # Whatever `schema` was given as, it is a Schema afterwards; only the one who gives it may vary.
        def __init__(self, name: str, schema: object = None, **settings: Any) -> None: ...

    def __post_init__(self) -> None:
        if self.name in _TAKEN:
            raise UsageError(f"stage {self.name}: {_TAKEN[self.name]}; name it otherwise")
        if not NAME.fullmatch(self.name):
            raise UsageError(
                f"stage {self.name!r}: a name is lower-case letters, digits, - and _, a letter first"
            )
        choices = {
            "thinking": Thinking,
            "media_resolution": MediaResolution,
            "safety": Safety,
            "service_tier": ServiceTier,
            "send": Send,
        }
        for name, allowed in choices.items():
            if (value := getattr(self, name)) is not None and value not in get_args(allowed):
                raise UsageError(
                    f"stage {self.name}: {name} {value!r} is none of {', '.join(get_args(allowed))}"
                )
        if self.evidence not in {"flagged", "required"}:
            raise UsageError(
                f"stage {self.name}: evidence {self.evidence!r} is neither flagged nor required"
            )
        if not 0 <= self.min_confidence <= 1:
            raise UsageError(
                f"stage {self.name}: min_confidence {self.min_confidence!r} is not between 0 and 1"
            )
        self._check_mending()
        try:
            self.chosen(1)
        except ValueError as error:
            raise UsageError(f"stage {self.name}: pages {error}") from None
        self._of_task()
        made = rules.made(self.validate, self.schema.tree, self.name) if self.validate else ()
        object.__setattr__(self, "validate", made)
        for name in ("tools", "fallback", "fields", "keep", "inputs", "context"):
            value = getattr(self, name)
            object.__setattr__(self, name, (value,) if isinstance(value, str) else tuple(value))
        self._check_tools()
        self._check_function()
        if self.task == "translate":
            translating.check(self)

    def _of_task(self) -> None:
        """What follows from the task: its words, its schema, and which settings it takes."""
        if self.task not in TASKS:
            raise UsageError(f"stage {self.name}: task {self.task!r} is none of {', '.join(TASKS)}")
        for name in OF_TASKS:
            value = getattr(self, name)
            is_said = value and value != self.__dataclass_fields__[name].default
            if is_said and (told := refused(self.task, name)):
                raise UsageError(f"stage {self.name}: {told}")
        words = WORDS[self.task]
        object.__setattr__(self, "system", self.system or words.system)
        object.__setattr__(self, "prompt", self.prompt or words.prompt)
        settings = ("labels", "prompt", "schema", "pages")
        try:
            object.__setattr__(self, "labels", labelled(self.labels))
            check_settings(self.task, {name: getattr(self, name) for name in settings})
        except UsageError as error:
            raise UsageError(f"stage {self.name}: {error}") from None
        object.__setattr__(self, "schema", self._schema())

    def _schema(self) -> Schema:
        """The schema of the answer: that of the task, or of extract and generate the one that was given."""
        given: object = self.schema
        if self.task == "python":
            given = self._of_function(given)
        if self.task not in MADE:
            return Schema.of(given)
        own = Schema.of(schema_of(self.task, self.labels))
        if given is None:
            return own
        if self.task == "translate":  # of fields, whose schema follows from theirs
            return Schema.of(given)
        if not isinstance(given, Schema) or given.sha256 != own.sha256:
            raise UsageError(
                f"stage {self.name}: schema is for extract and generate; that of {self.task} follows from its labels"
            )
        return given

    def _of_function(self, schema: object) -> object:
        """What follows from the function: what it reads, and the schema of what it gives."""
        if self.function is None:
            told = "task python needs a function: function = module:name, or @stage before it"
            raise UsageError(f"stage {self.name}: {told}")
        try:
            if tuple(self.inputs) == (DOCUMENT,):
                object.__setattr__(self, "inputs", tuple(parameters(self.function)))
            return schema_of_function(self.function) if schema is None else schema
        except UsageError as error:
            raise UsageError(f"stage {self.name}: {error}") from None

    def _check_function(self) -> None:
        if self.function is None:
            return
        try:
            check_fed(self.function, self.inputs)
            object.__setattr__(self, "identity", fingerprint(self.function, self.version))
        except UsageError as error:
            raise UsageError(f"stage {self.name}: {error}") from None

    def _check_mending(self) -> None:
        for name, least, most in (("repair", 0, 10), ("votes", 1, 2)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
                raise UsageError(f"stage {self.name}: {name} {value!r} is not {least} to {most}")
        if self.stream is not None and not isinstance(self.stream, bool):
            raise UsageError(f"stage {self.name}: stream {self.stream!r} is neither True nor False")
        try:
            object.__setattr__(self, "escalate", escalation(self.escalate))
        except UsageError as error:
            raise UsageError(f"stage {self.name}: {error}") from None

    def _check_tools(self) -> None:
        for tool in self.tools:
            if isinstance(tool, str) and tool not in TOOLS:
                raise UsageError(
                    f"stage {self.name}: tool {tool!r} is none of {', '.join(TOOLS)}, and no function"
                )
        if len(self.functions) < sum(not isinstance(tool, str) for tool in self.tools):
            raise UsageError(f"stage {self.name}: two functions among its tools have the same name")

    @property
    def functions(self) -> dict[str, Function]:
        """The Python functions among the tools, by the name that the model knows them by."""
        return {declared(tool).name: tool for tool in self.tools if not isinstance(tool, str)}

    @property
    def by_leaf(self) -> bool:
        """Whether an answer is proven, merged and mended leaf by leaf; those of the other tasks count as a whole."""
        return self.task == "extract"

    @property
    def instructions(self) -> str:
        """The prompt as it is sent: with the labels, or the languages and what is kept."""
        told = instructions(self.task, self.prompt, self.labels)
        return f"{told}\n{translating.words(self)}" if self.task == "translate" else told

    def chosen(self, count: int) -> tuple[int, ...]:
        """The numbers of the pages that are read of a document that has so many."""
        return page_numbers(self.pages or "1-", count)

    def pages_of(self, document: Document) -> tuple[int, ...]:
        """The numbers of the pages that are read of a document; of a part of a file, as they are in that file."""
        chosen = self.chosen(max(1, document.page_count))
        own = document.numbers
        return chosen if own is None else tuple(own[number - 1] for number in chosen)

    def on(self, model: str) -> "Stage":
        """This stage with its model settled, as the run resolved it."""
        return replace(self, model=model)

    @property
    def engine(self) -> str:
        """Who answers: the model by its settled name, or the function."""
        return self.model or str(getattr(self.function, "__name__", ""))

    @property
    def models(self) -> tuple[str, ...]:
        """Every model that may be asked, by its settled name: its own, its fallbacks, then those that it escalates to."""
        own = (self.model, *self.fallback) if self.model else ()
        return (*own, *(name for stage in self.higher for name in stage.models))

    @property
    def higher(self) -> tuple["Stage", ...]:
        """The same stage as each next model is asked, in order."""
        if self.escalate is None:
            return ()
        settings = self.escalate.settings or ({},) * len(self.escalate.to)
        return tuple(
            replace(self, model=model, escalate=None, votes=1, **{"fallback": (), **told})
            for model, told in zip(self.escalate.to, settings, strict=True)
        )

    @property
    def sha256(self) -> str:
        """The hash (hex) of everything that can change the answer: task, words, schema, model, settings."""
        return hashlib.sha256(json.dumps(self.to_json(), sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """The stage as it stands in run.json; the schema by its hash."""
        plain = {
            name: getattr(self, name)
            for name in self.__dataclass_fields__
            if name not in {"schema", "condition", "identity", "said"}
        }
        plain["function"] = self.identity or None
        plain["context"] = [c if isinstance(c, str) else c.to_json() for c in self.context]
        plain["validate"] = [each.to_json() for each in self.validate]
        plain["tools"] = [t if isinstance(t, str) else tools.fingerprint(t) for t in self.tools]
        if self.escalate is not None:
            kept = {name: getattr(self.escalate, name) for name in ("to", "on", "max_share")}
            own = [each.to_json() for each in self.higher]
            given = self.escalate.settings or ({},) * len(own)
            differing = [
                {name: each[name] for name in told} for each, told in zip(own, given, strict=True)
            ]
            plain["escalate"] = kept | {"settings": differing}
        return plain | {"schema_sha256": self.schema.sha256, "prompts_version": PROMPTS_VERSION}


@overload
def stage(function: Function, /) -> Stage:  # noqa: D418, the other check of docstrings wants one
    """`@stage` alone."""


@overload
def stage(name: str | None = None, /, **settings: Any) -> Callable[[Function], Stage]:  # noqa: D418, as above
    """`@stage(...)`, with its name and settings."""


def stage(function: Function | str | None = None, /, **settings: Any) -> Any:
    """A Python function as a stage: `@stage`, or `@stage("dedupe", when={"kind": "invoice"})` with settings of a Stage.

    Its parameters are named after what it reads: `document` is the pipeline.Document, `row` the columns of a row, any other
    the data of the earlier stage of that name, as the type that it is annotated with. What it returns
    becomes JSON and is judged by the schema that its return annotation gives. Functions may be coroutines.

    Raises:
        UsageError, SchemaError: it can't be one; says why.

    """

    def _made(function: Function) -> Stage:
        named = {"name": getattr(function, "__name__", "").lower(), **settings}
        return Stage(task="python", function=function, **named)

    if isinstance(function, str):
        settings = {"name": function, **settings}
    return _made(function) if callable(function) else _made
