"""What an answer means: a table of the signs by which services tell one trouble from another.

Codes are those of google.api.ErrorReason (googleapis-common-protos 1.76.0), of OpenAI's error pages, and of
llama.cpp's server; words are from live answers that were published (wire.md's issues, and those of
the projects named below).
"""

import re
from typing import Final, Literal

from pipeline.providers.faults.report import Report

Meaning = Literal[
    "account", "address", "blocked", "bucket", "cache_gone", "country", "day", "disabled", "document", "file_gone", "forbidden",
    "input", "key", "model", "no_tier", "payment", "redirect", "refused", "rights", "schema", "setting", "too_large", "too_long",
    "unexplained",
]  # fmt: skip

#: Refusals of a schema name it; one for the parameters of a function is another matter.
_NOT_OF_TOOLS: Final = r"\A(?![\s\S]*(?:function_?declarations|\btools\b))"
_SCHEMA: Final = r"schema|\$ref\b|too many states|nesting depth|grammar|response_?(?:format|mime)|structured.outputs?|guided_"
_CLIENT: Final = frozenset({400, 403, 404, 409, 410, 415, 422, 451})

#: The first line of which both hold is the meaning: the statuses (none: any), and what is found in the
#: message or the codes, each on a line of its own. Narrow ones stand before wide ones.
_SIGNS: Final[tuple[tuple[Meaning, frozenset[int], str], ...]] = (
    # What was left at the service and is not there any more; Google answers 403 for it.
    ("cache_gone", _CLIENT, r"cached ?content.{0,80}(?:not found|expired|not exist)|not found:? cached ?content"),
    ("file_gone", _CLIENT, r"access the file\b|\bfiles?[ /][\w-]{4,}.{0,60}(?:not exist|(?:was|is) not found|has expired)|not in an ACTIVE state"),
    ("bucket", _CLIENT, r"storage\.(?:objects|buckets)\.|\bgs://"),
    # The content is not wanted.
    ("refused", _CLIENT, r"content_filter|content.{0,12}polic(?:y|ies)|policy_violation|PolicyViolation|safety system|moderation|\bflagged\b|prohibited.content|data_inspection|sensitive_words|inappropriate content|blocked by.{0,20}(?:content|safety|model armor)"),
    # The account.
    ("country", _CLIENT, r"unsupported_country|location is not supported|country, region, or territory|not (?:available|supported|offered) in your (?:country|region|location)"),
    ("country", frozenset({451}), ""),
    ("payment", frozenset({402}), ""),
    ("payment", frozenset({400, 403, 429}), r"insufficient_(?:\w*quota|balance|credits?|funds)|billing_(?:hard_limit|not_active)|BILLING_DISABLED|payment_required|insufficient (?:\w+ )?(?:balance|credits?|funds)|requires? billing|billing (?:to be enabled|has not been|is (?:disabled|not))|billing account.{0,60}(?:closed|disabled|not)|enable billing|credit balance"),
    # A spend limit over minutes comes with RetryInfo, one that is used up does not (Google's 429s of 2026).
    ("payment", frozenset({429}), r"\A(?![\s\S]*\nRetryInfo\b).*(?:prepayment credits|spend(?:ing)? cap|spending limit|usage limits? (?:reached|exceeded) for this (?:month|billing))"),
    ("disabled", _CLIENT, r"SERVICE_DISABLED|accessNotConfigured|has not been used in project"),
    ("blocked", _CLIENT, r"API_KEY_(?:SERVICE|HTTP_REFERRER|IP_ADDRESS|ANDROID_APP|IOS_APP)_BLOCKED|requests (?:to this API|from referer).{0,200}are blocked"),
    ("account", _CLIENT, r"CONSUMER_(?:INVALID|SUSPENDED)|USER_PROJECT_DENIED|GCP_SUSPENDED|USER_BLOCKED_BY_ADMIN|ACCOUNT_STATE_INVALID|RESOURCE_PROJECT_INVALID|_ORG_POLICY_|ORG_RESTRICTION|\bsuspended\b|terms of service|account (?:is|has been|was) (?:deactivated|disabled|banned)|account_deactivated|SECURITY_POLICY_VIOLATED"),
    ("rights", frozenset({401, 403}), r"IAM_PERMISSION_DENIED|aiplatform\.|ACCESS_TOKEN_(?:SCOPE|TYPE)|authentication scopes|insufficient.permissions|missing scopes"),
    # Which model, and where.
    ("model", frozenset(), r"\bmodel_not_found\b|no available channel|DeploymentNotFound"),
    ("model", _CLIENT, r"\bmodels?\b.{0,120}(?:not found|not exist|doesn't exist|no longer|decommissioned|deprecated|shut ?down|does not have access|not a valid model|is not supported for generate)|(?:unknown|invalid|no such) model\b|not a valid model|access to (?:the )?model\b|unexpected model name"),
    ("address", frozenset({404, 405, 410}), r"invalid url|page not found|file not found|\Anot found\.?(?:\n|\Z)|\A(?:\n|\Z)|method not allowed|(?:unknown|no) (?:route|path|endpoint)\b|cannot (?:post|get)"),
    ("key", frozenset({401}), ""),
    ("key", frozenset({400, 403}), r"API_KEY_(?:INVALID|EXPIRED)|invalid_api_key|authentication_error|api.?key.{0,30}(?:not valid|invalid|expired|not found|incorrect)|(?:invalid|incorrect|expired) api.?key"),
    # The request itself. llama.cpp and others answer 500 to what will never pass.
    ("too_long", frozenset({400, 413, 422, 500}), r"context_length_exceeded|exceed_context_size|string_above_max_length|exceeds? the maximum number of tokens|maximum (?:context|input) length|context length is only|context (?:window|length|size)\b.{0,40}exceed|exceed.{0,60}context (?:window|length|size)|(?:prompt|input|request) is too long|too many (?:input |prompt )?tokens|max_tokens must be at least 1, got -"),
    ("too_large", frozenset({429}), r"request too large for"),
    ("too_large", frozenset({413}), ""),
    # How much is used up. `limit: 0` is no limit that is reached, but one that a tier never has.
    ("no_tier", frozenset({429}), r"\blimit: 0(?![\d.])"),
    ("day", frozenset({429}), r"per ?day|\((?:RPD|TPD)\)|daily (?:\w+ )?(?:limit|quota)|QUOTA_EXHAUSTED"),
    ("too_large", frozenset({400, 422}), r"payload size exceeds|(?:request|body|payload|entity|file) (?:is |was )?too large|(?:supported|maximum) page limit|(?:file|page|image|size) (?:size )?limit of|too many (?:images|pages|files)|at most [1-9]\d* (?:image|audio|video)"),
    ("schema", frozenset({400, 422}), rf"{_NOT_OF_TOOLS}[\s\S]*(?:{_SCHEMA})"),
    ("schema", frozenset({500, 501}), r"grammar|json.?schema"),
    ("document", frozenset({400, 415, 422, 500}), r"unable to process input|document has no pages|invalid_image|image_parse_error|failed to (?:decode|load|process) (?:the )?(?:image|audio|pdf|document)|(?:could not|cannot|can't|unable to) (?:\w+ )?(?:process|read|open|decode|parse|identify|load)\w* (?:the |this )?(?:image|document|pdf|file)|uploaded an unsupported image|(?:corrupt|damaged|encrypted|password.protected)"),
    ("input", frozenset({400, 404, 415, 422, 500, 501}), r"(?:image|audio|video|file|pdf|vision|multi-?modal)s?(?: \w+){0,2} (?:is|are) not (?:supported|enabled)|(?:not|n't|endpoints found that) support.{0,30}(?:image|audio|vision|\bfile|pdf|multi-?modal)|unsupported (?:content|mime|file|media)|mmproj|only supported by certain models|at most 0 (?:image|audio|video)|invalid content type|content part type"),
    ("setting", frozenset({400, 422}), r"unknown name|unknown_parameter|unsupported_(?:parameter|value)|unsupported (?:parameter|value)|unrecognized request argument|extra.inputs? (?:are )?not permitted|extra_forbidden|(?:is|are) not (?:supported|allowed) (?:with|by|for) this model|thinking.?(?:level|budget|config)|reasoning_effort"),
    ("unexplained", frozenset({400}), r"\ARequest contains an invalid argument(?![\s\S]*\nBadRequest\b)|\A\nINVALID_ARGUMENT\Z|\A\s*\Z"),
    ("model", frozenset({404, 410}), r"\nNOT_FOUND\b"),
    ("address", frozenset({404, 405, 410}), ""),
    ("redirect", frozenset(range(300, 400)), ""),
    ("key", frozenset({403}), r"\A(?!the answer is a web page)"),
    ("forbidden", frozenset({403}), ""),
)  # fmt: skip
_COMPILED: Final[tuple[tuple[Meaning, frozenset[int], re.Pattern[str]], ...]] = tuple(
    (meaning, statuses, re.compile(signs, re.IGNORECASE)) for meaning, statuses, signs in _SIGNS
)


def meaning_of(status: int, report: Report) -> Meaning | None:
    """What an answer means; None where its status says all that there is to say."""
    told = report.signs
    return next(
        (
            meaning
            for meaning, statuses, signs in _COMPILED
            if (not statuses or status in statuses) and signs.search(told)
        ),
        None,
    )
