"""The tables and keys of pipeline.toml, as pydantic models; their JSON Schema is made from them."""

from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StrictBool,
    Tag,
    model_validator,
)

from pipeline.rules import CHECKS
from pipeline.stages import (
    KINDS,
    NAME,
    TOOLS,
    Keep,
    Kind,
    MediaResolution,
    Safety,
    Send,
    ServiceTier,
    Task,
    Thinking,
)

_Rate = Annotated[float, Field(ge=0, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=1)]
_A_TOOL = rf"^(?:{'|'.join(TOOLS)}|[A-Za-z_][\w.]*:[A-Za-z_]\w*)$"
_A_VARIABLE = "^[A-Za-z_][A-Za-z0-9_]*$"
_A_PROJECT = r"^[a-z0-9][a-z0-9.:-]*$"
_A_LOCATION = "^[a-z][a-z0-9-]*$"
_A_BUCKET = r"^gs://[a-z0-9][a-z0-9._-]*(?:/[^\s#?]*)?$"
_A_STAGE = f"^(?:{NAME.pattern})$"
_Tool = Annotated[str, Field(pattern=_A_TOOL, min_length=1)]

#: The forms of a rule: steps in the places of pydantic's errors that are no keys of the file.
TEXT: Final = "(text)"
TABLE: Final = "(table)"
#: What each pattern wants, in words.
FORMS: Final = {
    _A_TOOL: f"a tool is {', '.join(TOOLS)}, or a Python function as module:function",
    _A_VARIABLE: "it is the name of the variable that holds the key, never the key itself",
    _A_PROJECT: "it is the id of a Google Cloud project",
    _A_LOCATION: "it is global, us, eu or a region, as in europe-west1",
    _A_BUCKET: "it is gs://name or gs://name/folder",
    _A_STAGE: "it begins with a lower-case letter, and holds lower-case letters, digits, - and _",
}


class Table(BaseModel):
    """A table without unknown keys."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class RatesTable(Table):
    """What tokens cost at one service tier, in USD per million."""

    input: _Rate = Field(description="Text, images and video that are sent")
    output: _Rate = Field(description="What is answered, thinking included")
    cached: _Rate | None = Field(
        default=None,
        description="Input that the provider's cache held; the input price if missing",
    )
    audio: _Rate | None = Field(
        default=None, description="Sound that is sent; the input price if missing"
    )
    cached_audio: _Rate | None = Field(
        default=None, description="Sound that the provider's cache held; as sound if missing"
    )

    def rates(self) -> dict[str, float]:
        """The rates of all kinds of tokens: what the table does not say costs what fresh input costs."""
        told = self.model_dump(exclude_none=True)
        audio = told.get("audio", self.input)
        return {"cached": self.input, "audio": audio, "cached_audio": audio} | told


class PriceTable(Table):
    """What a model costs, in USD per million tokens: at the standard tier alone, or by service tier."""

    input: _Rate | None = Field(default=None, description="Text, images and video, standard tier")
    output: _Rate | None = Field(default=None, description="Answers and thinking, standard tier")
    cached: _Rate | None = Field(default=None, description="Cached input, standard tier")
    audio: _Rate | None = Field(default=None, description="Sound, standard tier")
    cached_audio: _Rate | None = Field(default=None, description="Cached sound, standard tier")
    standard: RatesTable | None = None
    batch: RatesTable | None = None
    flex: RatesTable | None = None
    priority: RatesTable | None = None
    standard_long: RatesTable | None = Field(default=None, description="For longer prompts")
    batch_long: RatesTable | None = None
    flex_long: RatesTable | None = None
    priority_long: RatesTable | None = None
    long_above: _Count | None = Field(
        default=None, description="Prompts of more tokens than this cost what the _long tables say"
    )
    search: _Rate | None = Field(default=None, description="USD for a thousand search queries")
    storage: _Rate | None = Field(
        default=None, description="A million tokens in an explicit cache for an hour"
    )

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        flat = self.input is not None and self.output is not None
        said = {"input", "output", "cached", "audio", "cached_audio"} & self.model_fields_set
        if flat == (self.standard is not None) or (said and not flat):
            raise ValueError("a price has input and output, or a table standard with both")
        long = [name for name in self.model_fields_set if name.endswith("_long")]
        if bool(long) != (self.long_above is not None):
            raise ValueError("long_above and the _long tables belong together")
        return self

    def rates(self) -> dict[str, Any]:
        """As `catalogue.price_of` takes it."""
        tiers = {
            name: value.rates()
            for name in self.model_fields_set
            if isinstance(value := getattr(self, name), RatesTable)
        }
        if self.input is not None and self.output is not None:
            flat = RatesTable(
                input=self.input,
                output=self.output,
                cached=self.cached,
                audio=self.audio,
                cached_audio=self.cached_audio,
            )
            tiers["standard"] = flat.rates()
        return tiers | self.model_dump(
            include={"long_above", "search", "storage"}, exclude_none=True
        )


class ModelSettings(Table):
    """What goes to the model with each request; what is missing is not sent."""

    thinking: Thinking | None = Field(default=None, description="How much the model may think")
    media_resolution: MediaResolution | None = Field(
        default=None, description="How finely pages and images are seen"
    )
    max_output_tokens: int | None = Field(
        default=None, ge=1, description="The longest answer; estimated if missing"
    )
    temperature: float | None = Field(default=None, ge=0, le=2)
    seed: int | None = None
    safety: Safety | None = Field(default=None, description="What the service may block")
    service_tier: ServiceTier | None = Field(
        default=None, description="flex is half the price and may wait; priority is dearer"
    )
    stream: StrictBool | None = Field(
        default=None,
        description="Take the answer as it is written: one that repeats itself without end is broken off, and the rest "
        "of it is not paid. If missing: of Google's own services, where it may be longer than 16,384 tokens",
    )
    tools: list[_Tool] = Field(
        default=[],
        description="Tools of the service, or module:function from this file's folder; needs allow_tools_on_untrusted under [run]",
    )
    fallback: list[str] = Field(
        default=[],
        description="Models, or names of [models] tables, that are asked when the first is down",
    )
    system: str | None = Field(
        default=None, description="The system instruction; the task's own if missing"
    )
    prompt: str | None = Field(
        default=None,
        description="What is asked, the task's own words if missing; the document follows it, fenced",
    )


class LimitsTable(Table):
    """What may be asked of a service, where it is known: it is learned otherwise. The nearest table counts.

    A model's own table goes before that of its provider, and that before `[run]`.
    """

    rpm: _Count | None = Field(default=None, description="Requests a minute; learned if missing")
    tpm: _Count | None = Field(default=None, description="Tokens a minute; learned if missing")
    rpd: _Count | None = Field(default=None, description="Requests a day; the run ends there")
    tpd: _Count | None = Field(default=None, description="Tokens a day; the run ends there")
    spend: str | float | int | None = Field(
        default=None, description="The most that is spent in any ten minutes: 10 USD; the run waits"
    )
    timeout: float | None = Field(
        default=None,
        gt=0,
        le=86400,
        description="Seconds for one request and its whole answer; 660 if missing",
    )


class ModelTable(ModelSettings, LimitsTable):
    """A model under a name of your own, with its settings, and what the catalogue does not know of it."""

    model: str = Field(description="model, or provider:model")
    price: PriceTable | None = Field(
        default=None, description="In place of the catalogue's, which `fieldsift models` shows"
    )
    input_limit: _Count | None = Field(default=None, description="Tokens that it takes")
    output_limit: _Count | None = Field(default=None, description="Tokens that it answers")
    thinking_levels: list[Thinking] | None = Field(
        default=None, description="The levels that it takes; an empty list: none"
    )


class ProviderTable(LimitsTable):
    """A service of your own, or what is different at one that is known."""

    base_url: str | None = Field(
        default=None,
        description="Its address: https, or http on this machine. A known service needs a key_env of its own then",
    )
    key_env: str | None = Field(
        default=None,
        pattern=_A_VARIABLE,
        description="The variable that holds its key; missing: none is sent",
    )
    wire: Literal["openai", "gemini"] | None = Field(
        default=None, description="What it speaks; openai if missing"
    )
    auth: Literal["key", "bearer"] | None = Field(
        default=None,
        description="For the wire gemini: whether the key goes in x-goog-api-key or as a bearer token",
    )
    pdf: Literal["file", "images", "text"] | None = Field(
        default=None,
        description="How a PDF goes there whose text alone is not enough: as a file, as a picture of each page; or always as text",
    )
    sees: StrictBool | None = Field(default=None, description="Whether it takes pictures")
    hears: StrictBool | None = Field(default=None, description="Whether it takes sound")
    schema_: Literal["json_schema", "json_object", "none"] | None = Field(
        default=None, alias="schema", description="What its response_format takes"
    )
    effort: StrictBool | None = Field(default=None, description="Whether it knows reasoning_effort")
    limit_name: Literal["max_completion_tokens", "max_tokens"] | None = Field(
        default=None, description="How it calls the longest answer"
    )
    input_limit: _Count | None = Field(default=None, description="Tokens that its models take")
    output_limit: _Count | None = Field(default=None, description="Tokens that its models answer")
    request_bytes: _Count | None = Field(default=None, description="The largest request")
    inline_bytes: _Count | None = Field(
        default=None, description="The largest request with files in it"
    )
    file_bytes: _Count | None = Field(default=None, description="The largest file that it stores")
    pdf_bytes: _Count | None = Field(default=None, description="The largest PDF")
    pdf_pages: _Count | None = Field(default=None, description="The most PDF pages of a request")
    images: _Count | None = Field(default=None, description="The most pictures of a request")
    project: str | None = Field(
        default=None,
        pattern=_A_PROJECT,
        description="vertex: the Google Cloud project; GOOGLE_CLOUD_PROJECT if missing",
    )
    location: str | None = Field(
        default=None,
        pattern=_A_LOCATION,
        description="vertex: global, us, eu or a region; GOOGLE_CLOUD_LOCATION, then global, if missing",
    )
    bucket: str | None = Field(
        default=None,
        pattern=_A_BUCKET,
        description="vertex: gs://name/folder for files too large to be sent along",
    )


class RunTable(LimitsTable):
    """The folder job."""

    input: str | list[str] | None = Field(
        default=None, description="Folder, file or pattern, relative to this file"
    )
    output: str | None = Field(default=None, description="Output folder, relative to this file")
    model: str | None = Field(default=None, description="model, provider:model, local, or auto")
    budget: str | float | int | None = Field(
        default=None, description="The most that may be spent: 5.00 USD"
    )
    jobs: int | None = Field(
        default=None, ge=1, le=1000, description="Documents worked on at the same time"
    )
    text_field: str | None = Field(
        default=None,
        min_length=1,
        description="Rows of JSONL and CSV: the column that is the text; the row as JSON if missing",
    )
    id_field: str | None = Field(
        default=None,
        min_length=1,
        description="Rows of JSONL and CSV: the column that names each; their number if missing",
    )
    min_confidence: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Values that are less sure are left out",
    )
    cache: str | None = Field(
        default=None,
        description="A folder of answers that several outputs share, relative to this file; what is there is not asked "
        "again, but two runs at the same time may both pay for the same question",
    )
    cache_size: str | int | None = Field(
        default=None,
        description="The most that the cache keeps: 2 GB; the least recently used go first",
    )
    cache_age: str | None = Field(
        default=None, description="How old answers of the cache may be: 90 days"
    )
    profile: Literal["cheap", "balanced", "careful"] | None = Field(
        default=None,
        description="Defaults of all stages. cheap: flex prices, minimal thinking, up to 100 short documents (files too) in a request, asked again once; balanced: "
        "as without one; careful: everything is asked twice, evidence is required, and what still fails goes to the stronger model",
    )
    allow_tools_on_untrusted: StrictBool | None = Field(
        default=None,
        description="Allow tools: what a document says can then make the model carry its content away",
    )


class EscalateTable(Table):
    """Who is asked next for the leaves that still fail."""

    to: list[str] = Field(
        min_length=1, description="Models, or names of [models] tables, in the order they are asked"
    )
    on: list[Kind] = Field(
        default=list(KINDS), min_length=1, description="Why a leaf goes up; all of them if missing"
    )
    max_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="The largest share of a run's documents that goes up, in a second pass; at least one may, however small it is",
    )


class RuleTable(Table):
    """A rule over the fields of a stage, or check digits of one field."""

    rule: str | None = Field(default=None, description="net + vat == total")
    tolerance: str | float | int | None = Field(
        default=None, description="How far both sides may be apart: 0.01, or 1% of the larger one"
    )
    name: str | None = Field(default=None, description="What findings of the rule are called")
    check: str | None = Field(default=None, description=f"One of {', '.join(CHECKS)}")
    field: str | None = Field(default=None, description="The field that is checked: seller.account")
    severity: Literal["error", "warning"] = Field(
        default="error", description="A warning leaves the result valid"
    )


def _rule_form(given: Any) -> str | None:
    if isinstance(given, str):
        return TEXT
    return TABLE if isinstance(given, dict | RuleTable) else None


_RULE_FORM: Final = Discriminator(
    _rule_form,
    custom_error_type="rule_form",
    custom_error_message='a rule is a text ("net + vat == total", "iban"), or a table with rule or check',
)
_Rule = Annotated[
    Annotated[str, Tag(TEXT)] | Annotated[RuleTable, Tag(TABLE)],
    _RULE_FORM,
]


class StageTable(ModelSettings):
    """One question to every document."""

    name: str = Field(pattern=_A_STAGE, description="Its folder in the output")
    task: Task = Field(default="extract", description="What is asked for")
    schema_: str | None = Field(
        default=None,
        alias="schema",
        description="JSON Schema file, module:Model, shipped name, or fields; of extract and generate",
    )
    model: str | None = Field(
        default=None, description="In place of the run's model; or the name of a [models] table"
    )
    evidence: Literal["flagged", "required"] = Field(
        default="flagged", description="required: a value that is not found is an error"
    )
    repair: int = Field(
        default=2, ge=0, le=10, description="How often what fails is asked again; 0: never"
    )
    votes: int = Field(
        default=1, ge=1, le=2, description="2: everything is asked twice, and what differs goes up"
    )
    escalate: EscalateTable | None = Field(
        default=None, description="Who is asked next for what still fails"
    )
    validate_: list[_Rule] = Field(
        default=[],
        alias="validate",
        description="Rules (net + vat == total), checks of all fields of their name (iban), or tables of them",
    )
    pages: str | None = Field(
        default=None,
        description="The only pages that are read: 1-3, 7, 10- or last; all if missing",
    )
    send: Send = Field(
        default="auto",
        description="How pages of PDFs go to a service: auto is, page by page, the cheapest form that keeps the content",
    )
    labels: dict[str, str] | list[str] = Field(
        default={}, description="classify, tag, split: names, and what each of them means"
    )
    fields: list[str] = Field(
        default=[],
        description="translate: fields of earlier stages (invoice.lines.description) in place of the document",
    )
    to: str | None = Field(default=None, description="translate: the language, as in BCP 47: en")
    source_language: str | None = Field(
        default=None, description="translate: the language of the text; found out if missing"
    )
    keep: list[Keep] = Field(
        default=[], description="translate: what must come over unchanged; checked after the call"
    )
    glossary: dict[str, str] | str = Field(
        default={},
        description="translate: terms, and how each of them is translated; or a CSV file of two columns, or a TOML file, that has them",
    )
    function: str | None = Field(
        default=None, description="python: module:function from this file's folder"
    )
    version: str | None = Field(
        default=None,
        description="python: a new one runs the function again; the function's source if missing",
    )
    when: str | dict[str, Any] | None = Field(
        default=None,
        description='Which documents go through: { kind = "invoice" }, or a rule over earlier stages ("invoice.total > 1000")',
    )
    inputs: list[str] = Field(
        default=["document"],
        description="What is shown: document, and earlier stages or fields of them",
    )
    for_each: str | None = Field(
        default=None,
        description="Asked for each item of an earlier array (invoice.lines); document: once for the whole input again",
    )
    context: list[str] = Field(
        default=[],
        description="Files that every document of the stage is read beside, relative to this file: a code book",
    )
    pack: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="How many short documents share a request at most. Missing: as many rows or items as fit, files alone; 1: none",
    )


class PipelineFile(Table):
    """A pipeline: what to read, what to ask, where the answers go."""

    version: Literal[1] = 1
    run: RunTable = RunTable()
    models: dict[str, ModelTable] = Field(default={}, description="Models under names of your own")
    providers: dict[str, ProviderTable] = Field(
        default={}, description="Services of your own, and what is different at known ones"
    )
    stage: list[StageTable] = []
