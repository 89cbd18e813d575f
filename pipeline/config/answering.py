"""Who answers each stage: its settings from stage and model table, its endpoint and fallbacks, their prices."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline import catalogue, usercode
from pipeline.config import contexts
from pipeline.config.glossaries import read_glossary
from pipeline.config.keys import Keys, resolve
from pipeline.config.profiles import OF_MODELS, of_profile
from pipeline.config.quotas import LIMITS, Tables, limited, said_by
from pipeline.config.recipes import stage_file
from pipeline.config.services import listed
from pipeline.errors import ConfigError, FieldsiftError, UsageError
from pipeline.graph import wired
from pipeline.providers import Endpoint, check
from pipeline.schema import Schema
from pipeline.stages import Escalation, Stage
from pipeline.stages.tasks import WORDS, refused
from pipeline.tools import Function

if TYPE_CHECKING:
    from pipeline.config.tables import ModelTable, PipelineFile

#: What `[models.NAME]` says of the model itself; the rest of it are settings of stages.
_OF_THE_MODEL: Final = frozenset(
    {"model", "price", "input_limit", "output_limit", "thinking_levels", *LIMITS}
)
#: The settings that each model of a stage may have of its own.
_OF_MODELS: Final = (
    "thinking", "media_resolution", "max_output_tokens", "temperature", "seed", "safety", "service_tier", "stream",
    "tools", "system", "prompt",
)  # fmt: skip
_DEFAULTS: Final[dict[str, Any]] = {
    each.name: each.default
    for each in fields(Stage)
    if each.default is not MISSING and each.compare
} | {"labels": {}, "glossary": {}}


@dataclass(frozen=True, slots=True)
class Asked:
    """A stage, and where each of its settings came from; those that are not named have their default.

    `number` is its place among the stages of the file. `unset` says of settings of the profile why they are not set.
    """

    stage: Stage
    origins: Mapping[str, str]
    number: int = 0
    unset: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Asking:
    """What decides about keys and tools. See `Call` for the three; `typed`: the model was typed for every stage.

    `tools` says that they are allowed; functions are looked for in `root`. `file` is that of the pipeline,
    `origin` says where the run's model came from; `limits` are those that code gives; `profile` is the name of one.
    """

    terminal: bool
    keyless: bool
    replaying: bool
    typed: bool
    tools: bool
    root: Path
    file: Path | None = None
    origin: str = "default"
    limits: Mapping[str, Any] = field(default_factory=dict)
    profile: str | None = None


def of_file(
    given: Mapping[str, Any], table: "PipelineFile", root: Path, file: Path | None
) -> list[Asked]:
    """The stages of the recipe that `-s` names, else one of its schema, else those of the file."""
    own = {name: given[name] for name in ("prompt", "pages") if name in given}
    typed = {name: f"--{name}" for name in own}
    if (recipe := stage_file(given.get("schema"))) is not None:
        from pipeline.config.file import parse

        table, root, file = parse(recipe.read_text("utf-8"), recipe), recipe.parent.parent, recipe
    elif "schema" in given:
        schema = Schema.of(given["schema"])
        return [Asked(Stage(schema.name, schema, **own), {"schema": "--schema"} | typed)]
    stages, wrong = [], []
    for number, each in enumerate(table.stage):
        told = each.model_dump(by_alias=True, exclude_unset=True, exclude_none=True)
        settings, unread = _settings(told, root)
        origins = dict.fromkeys(settings, str(file or "-c")) | typed
        settings |= own
        unfit = {key: why for key in settings if (why := refused(each.task, key))} | unread
        if unfit:
            places = ((("stage", number, key), why) for key, why in unfit.items())
            wrong += [f"{_line_of(file, at)}stage {each.name}: {why}" for at, why in places]
            continue
        try:
            stages.append(Asked(Stage(**settings), origins, number))
        except UsageError as error:
            key = _refused(settings)
            line = "" if key in own else _line_of(file, ("stage", number, key))
            wrong.append(f"{line}{error}")
    if wrong:
        raise ConfigError("\n".join(wrong))
    return stages


def recipe_stages(name: object) -> list[Stage]:
    """The stages of a recipe; none where nothing of that name ships."""
    from pipeline.config.tables import PipelineFile

    if stage_file(name) is None:
        return []
    return [asked.stage for asked in of_file({"schema": name}, PipelineFile(), Path(), None)]


def _refused(settings: Mapping[str, Any]) -> str:
    """The setting of a stage without which it would be none that is refused; its name where it is another thing."""
    for key in settings.keys() - {"name", "schema"}:
        try:
            Stage(**{name: value for name, value in settings.items() if name != key})
        except UsageError:
            continue
        return key
    return "name"


def _line_of(file: Path | None, place: tuple[int | str, ...]) -> str:
    """Where a setting stands, as the beginning of a message; empty without a file."""
    from pipeline.config.file import find_line

    line = find_line(place, file.read_text("utf-8")) if file else None
    return f"{file}: line {line}: " if line else ""


def of_code(stages: Sequence[Stage]) -> list[Asked]:
    """Stages made by code: what it named was said there, and what is not as by default."""
    return [
        Asked(
            stage,
            {
                name: "code"
                for name, default in _defaults(stage).items()
                if name in stage.said or getattr(stage, name) != default
            },
        )
        for stage in stages
    ]


def connected(stages: Sequence[Asked], file: Path | None) -> list[Asked]:
    """The stages, checked against each other; `file` is the one that they stand in.

    Raises:
        UsageError: everything that is wrong, each with its line.

    """

    def place(number: int, key: str) -> str:
        return _line_of(file, ("stage", stages[number].number, key))

    settled = wired([each.stage for each in stages], place)
    return [replace(each, stage=stage) for each, stage in zip(stages, settled, strict=True)]


def _defaults(stage: Stage) -> dict[str, Any]:
    """What a stage has that says nothing but its task."""
    words = WORDS[stage.task]
    return _DEFAULTS | {"system": words.system, "prompt": words.prompt}


class Answering:
    """Settles which endpoints answer each stage, at what price."""

    def __init__(
        self, table: "PipelineFile", places: Keys, model: str | None, asking: Asking
    ) -> None:
        self.table, self.places, self.model, self.asking = table, places, model, asking
        self.services = listed(table.providers)
        self.endpoints: dict[str, Endpoint] = {}
        self.prices: dict[str, catalogue.Price | None] = {}
        self.notes: list[str] = []
        self.asked: list[Asked] = []

    def settle(self, asked: Asked) -> Stage:
        """The stage with its model and fallbacks as names of endpoints, and with the settings of its model's table.

        Raises:
            ConfigError, UsageError: a model or a setting is wrong. SetupError: a key is missing.

        """
        if asked.stage.task == "python":  # it needs no model
            stage = replace(asked.stage, model=None, fallback=(), escalate=None)
            self.asked.append(replace(asked, stage=stage))
            return stage
        # What was typed on the command line is meant for every stage.
        own = None if self.asking.typed else asked.stage.model
        wanted = own or self.model
        if own is None:
            asked = replace(asked, origins=dict(asked.origins) | {"model": self.asking.origin})
        given = asked
        if named := self.table.models.get(wanted or ""):
            asked = _with_defaults(asked, wanted or "", named, self.asking.root)
        stage = asked.stage
        if stage.tools and not self.asking.tools:
            from pipeline.config.file import NO_TOOLS

            raise UsageError(f"stage {stage.name}: {NO_TOOLS}")
        try:
            endpoint = self.endpoint(wanted)
        except ConfigError as error:
            raise ConfigError(f"{self._place(asked, wanted or '', 'model')}{error}") from None
        self._check(asked, wanted or "", endpoint)
        others = [] if endpoint.provider == "local" else self._fallbacks(asked, wanted or "")
        asked = self._profiled(asked, [endpoint.name, *others])
        settled = replace(
            asked.stage,
            model=endpoint.name,
            fallback=tuple(dict.fromkeys(name for name in others if name != endpoint.name)),
        )
        try:
            settled = replace(settled, context=contexts.found(settled, self.asking.root))
        except ConfigError as error:
            raise ConfigError(f"{self._place(asked, wanted or '', 'context')}{error}") from None
        settled = replace(settled, escalate=self._escalation(given, settled))
        self.asked.append(replace(asked, stage=settled))
        self.notes += _many_labels(settled, endpoint)
        return settled

    def _profiled(self, asked: Asked, names: Sequence[str], of_models: bool = False) -> Asked:
        """With the settings of the profile that nothing else sets and that all these endpoints take."""
        name, endpoints = self.asking.profile, [self.endpoints[each] for each in names]
        new, unset = of_profile(name, asked.stage, asked.origins, endpoints, self.prices)
        if of_models:
            new = {key: value for key, value in new.items() if key in OF_MODELS}
        origins = dict.fromkeys((*new, *unset), f"profile {name}") | dict(asked.origins)
        return Asked(replace(asked.stage, **new), origins, asked.number, unset)

    def _escalation(self, given: Asked, settled: Stage) -> Escalation | None:
        """The stage's escalation with its models as names of endpoints, each with the settings of its table.

        What a model's own table says counts before what the stage says, which is meant for the first model; what
        neither says is as by default.

        Raises:
            ConfigError, UsageError, SetupError: as `settle`.

        """
        if settled.escalate is None:
            return None
        names, settings = [], []
        for wanted in settled.escalate.to:
            origins = {key: origin for key, origin in given.origins.items() if key != "fallback"}
            higher = replace(given, stage=replace(given.stage, fallback=()), origins=origins)
            if named := self.table.models.get(wanted):
                told = named.model_dump(exclude_unset=True, exclude_none=True)
                higher = replace(
                    higher, origins={k: o for k, o in origins.items() if k not in told}
                )
                higher = _with_defaults(higher, wanted, named, self.asking.root)
            endpoint = self._higher_endpoint(given, wanted, settled)
            self._check(higher, wanted, endpoint, f"escalate to {wanted!r} of ")
            others = tuple(dict.fromkeys(self._fallbacks(higher, wanted)))
            higher = self._profiled(higher, [endpoint.name, *others], of_models=True)
            asked = replace(higher.stage, fallback=tuple(n for n in others if n != endpoint.name))
            told = {
                name: value
                for name in _OF_MODELS
                if (value := getattr(asked, name)) != getattr(settled, name)
            }
            if endpoint.name == settled.model and not told:
                raise ConfigError(
                    f"{self._place(given, wanted, 'escalate')}escalate to {wanted!r} of stage {settled.name}: "
                    f"that is the stage's own model with the same settings; `repair` asks it again"
                )
            names.append(endpoint.name)
            settings.append(told | ({"fallback": asked.fallback} if asked.fallback else {}))
        return replace(settled.escalate, to=tuple(names), settings=tuple(settings))

    def _higher_endpoint(self, given: Asked, wanted: str, settled: Stage) -> Endpoint:
        place = self._place(given, wanted, "escalate")
        told = f"{place}escalate to {wanted!r} of stage {settled.name}: "
        if wanted.lower() == "auto":
            raise ConfigError(f"{told}name a model, not auto")
        try:
            endpoint = self.endpoint(wanted)
        except FieldsiftError as error:
            raise type(error)(f"{told}{error}") from None
        if endpoint.provider == "local":
            raise ConfigError(f"{told}the local engine says the same each time; name a model")
        return endpoint

    def _check(self, asked: Asked, name: str, endpoint: Endpoint, whose: str = "") -> None:
        """Refuse settings that the model can't take; where the file says them, with the line.

        Raises:
            UsageError: see `providers.check`.

        """
        try:
            check(asked.stage, endpoint)
        except UsageError as error:
            raise UsageError(f"{self._line(asked, name, endpoint)}{whose}{error}") from None

    def _line(self, asked: Asked, name: str, endpoint: Endpoint) -> str:
        """Where the setting stands without which the check would pass; empty where no file says it."""
        for key in asked.origins:
            if key not in _DEFAULTS:
                continue
            try:
                check(replace(asked.stage, **{key: _DEFAULTS[key]}), endpoint)
            except UsageError:
                continue
            return self._place(asked, name, key)
        return ""

    def _place(self, asked: Asked, name: str, key: str) -> str:
        """The line of a setting of a stage, or of the table `name` of its model; empty where no file says it."""
        file, origin = self.asking.file, asked.origins.get(key, "")
        place: tuple[int | str, ...] = ("stage", asked.number)
        if origin.startswith("["):
            place = ("models", name)
        elif key == "model" and name in self.table.models:
            place, origin = ("models", name), str(file)
        elif key == "model" and asked.stage.model is None:
            place = ("run",)
        if file is None or not origin.startswith(("[", str(file))):
            return ""
        return _line_of(file, (*place, key))

    def _fallbacks(self, asked: Asked, name: str) -> list[str]:
        names, stage = [], asked.stage
        for wanted in stage.fallback:
            if wanted.lower() == "auto":
                raise ConfigError(f"stage {stage.name}: a fallback is a model, not auto")
            try:
                endpoint = self.endpoint(wanted)
            except FieldsiftError as error:
                told = f"fallback {wanted!r} of stage {stage.name}: {error}"
                raise type(error)(self._place(asked, name, "fallback") + told) from None
            self._check(asked, name, endpoint, f"fallback {wanted!r} of ")
            names.append(endpoint.name)
        return names

    def endpoint(self, wanted: str | None) -> Endpoint:
        """The endpoint of a model, or of the name of a `[models]` table; it is noted with its price.

        Raises:
            ConfigError: there is no such model, or tables contradict each other. SetupError: a key is missing.

        """
        named = self.table.models.get(wanted or "")
        endpoint, note = resolve(
            named.model if named else wanted,
            self.places,
            terminal=self.asking.terminal,
            keyless=self.asking.keyless,
            replaying=self.asking.replaying,
            services=self.services,
        )
        if endpoint.name in self.endpoints:
            return self.endpoints[endpoint.name]
        own = self._tables_of(endpoint)
        endpoint = replace(endpoint, card=self._card(endpoint, own))
        endpoint = limited(endpoint, self.table, own, self.asking.limits)
        price = catalogue.price(endpoint.known, datetime.now(UTC).date(), endpoint.location)
        self.endpoints[endpoint.name] = endpoint
        self.prices[endpoint.name] = price
        self.notes += filter(None, (note, _unlisted(endpoint, price), _gone(endpoint)))
        return endpoint

    def _tables_of(self, endpoint: Endpoint) -> Tables:
        return [
            (name, table)
            for name, table in self.table.models.items()
            if table.model.strip() in {endpoint.name, _short(endpoint)}
        ]

    def _card(self, endpoint: Endpoint, own: Tables) -> catalogue.Model | None:
        """What the file says of a model, by whatever name it was asked for, over what the catalogue says.

        Raises:
            ConfigError: two tables say different things.

        """
        provider = self.table.providers.get(endpoint.provider)
        limits = ("input_limit", "output_limit")
        told: dict[str, Any] = {
            key: value for key in limits if (value := getattr(provider, key, None)) is not None
        }
        for key, name in (
            ("prices", "price"),
            *zip(limits, limits, strict=True),
            ("thinking", "thinking_levels"),
        ):
            if (value := said_by(own, name, endpoint)) is not None:
                told[key] = value
        if "prices" in told:
            told["prices"] = (catalogue.price_of(told["prices"].rates(), source="pipeline file"),)
            told["regional"] = None
        if "thinking" in told:
            told["thinking"] = tuple(told["thinking"])
        known = endpoint.known or catalogue.Model(endpoint.provider, endpoint.model)
        return replace(known, **told) if told else None


def _short(endpoint: Endpoint) -> str:
    """The name without its service, where that is what it means."""
    return endpoint.model if endpoint.provider == "gemini" else endpoint.name


def _unlisted(endpoint: Endpoint, price: catalogue.Price | None) -> str:
    if price is not None:
        return ""
    what = "its price is unknown"
    if not endpoint.known:
        ids = [model.id for model in catalogue.all_models() if model.provider == endpoint.provider]
        near = difflib.get_close_matches(endpoint.model.lower(), ids, 1, cutoff=0.9)
        meant = f" (is {near[0]} meant?)" if near else ""
        what = f"it is in no list{meant}: price and limits are unknown"
    return f"{endpoint.name}: {what}, so that no cost is shown; [models.NAME] of the pipeline file can give them"


def _many_labels(stage: Stage, endpoint: Endpoint) -> list[str]:
    """That a service does not enforce a stage's labels, for there are more than its schema may have."""
    from pipeline.schema.dialects import Dialect, is_whole

    wires: dict[str, Dialect] = {"gemini": "gemini", "openai": "openai"}
    dialect = wires.get(endpoint.service.wire)
    if not stage.labels or dialect is None or is_whole(stage.schema, dialect):
        return []
    told = (
        f"stage {stage.name}: its {len(stage.labels):,} labels are more than {endpoint.name} takes in a schema, which holds no "
        f"list of them then; they stand in the prompt, and an answer outside them is found here and asked again"
    )
    return [told]


def _gone(endpoint: Endpoint) -> str:
    known = endpoint.known
    if known is None or known.shutdown is None or known.shutdown > datetime.now(UTC).date():
        return ""
    way_out = f": use {known.successor}" if known.successor else ""
    return f"{endpoint.name} was shut down on {known.shutdown}{way_out}"


def _with_defaults(asked: Asked, name: str, named: "ModelTable", root: Path) -> Asked:
    """The settings of a `[models.NAME]` table where the stage has none of its own."""
    told = named.model_dump(exclude=set(_OF_THE_MODEL), exclude_unset=True, exclude_none=True)
    settings, wrong = _settings(told, root)
    if wrong:
        raise ConfigError("\n".join(f"[models.{name}]: {why}" for why in wrong.values()))
    new = {key: value for key, value in settings.items() if key not in asked.origins}
    origins = dict(asked.origins) | dict.fromkeys(new, f"[models.{name}]")
    return replace(asked, stage=replace(asked.stage, **new), origins=origins)


def _settings(told: dict[str, Any], root: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """Settings of a table as a Stage takes them, things by themselves in place of their names; why others are none."""
    settings: dict[str, Any] = {}
    wrong: dict[str, str] = {}
    for key, value in told.items():
        try:
            settings[key] = _setting(key, tuple(value) if isinstance(value, list) else value, root)
        except UsageError as error:
            wrong[key] = str(error)
    return settings, wrong


def _setting(key: str, value: Any, root: Path) -> Any:
    if key == "glossary" and isinstance(value, str):
        return read_glossary(root / value)
    if key == "schema":
        return Schema.of(value, root=root)
    if key == "function":
        return _function(value, root)
    return tuple(_tool(text, root) for text in value) if key == "tools" else value


def _tool(text: str, root: Path) -> str | Function:
    return _function(text, root, "tool") if ":" in text else text


def _function(text: str, root: Path, what: str = "function") -> Function:
    try:
        found: Function = usercode.found(text, root)
    except ValueError as error:
        raise ConfigError(f"{what} {error}") from error
    if not callable(found):
        raise ConfigError(f"{what} {text} is no function")
    return found
