"""`--curl`: requests as cURL commands, which API clients such as Postman and Apidog import."""

import json
import shlex
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from pipeline.cli.output import Output

if TYPE_CHECKING:
    from pipeline.config import Plan
    from pipeline.providers import Shown
    from pipeline.runner import Options
    from pipeline.sources import Source

#: Linux takes no single argument of 128 KiB or more (MAX_ARG_STRLEN); longer bodies come on stdin.
_LONGEST_ARGUMENT = 120_000
_HOW_TO_SIGN_IN = (
    "GOOGLE_ACCESS_TOKEN=$(gcloud auth application-default print-access-token) sets its key"
)


def as_curl(shown: "Shown") -> str:
    """A request as a shell command; the key stays a variable of the shell.

    The body holds no quotation mark of the shell, so that it can be read by programs that don't know
    all of its rules. A body too long for an argument comes as a here-document, which a shell runs, but
    few programs import.
    """
    body = json.dumps(shown.body, ensure_ascii=False, separators=(",", ":")).replace("'", "\\u0027")
    lines = [f"curl -X {shown.method} {shlex.quote(shown.url)}"]
    lines += [f'  -H "{name}: {value}"' for name, value in shown.headers.items()]
    if len(body.encode()) <= _LONGEST_ARGUMENT:
        lines.append(f"  --data-raw '{body}'")
        return " \\\n".join(lines)
    lines.append("  --data-binary @- <<'JSON'")
    return " \\\n".join(lines) + f"\n{body}\nJSON"


async def show(decided: "Plan", how: "Options", sources: "Iterable[Source]", output: Output) -> int:
    """Print the request of each stage about each source; nothing is sent, nothing is kept."""
    from pipeline.api import Storage, open_runner
    from pipeline.reporters import printable
    from pipeline.results import Result

    code = 0
    async with open_runner(replace(decided, output=None), how, Storage(in_memory=True)) as runner:
        async for path, stage, shown in runner.shown(sources):
            if isinstance(shown, Result):
                told = "; ".join(finding.message for finding in shown.findings)
                output.warn(printable(f"{path}: {shown.status}: {told}"))
                code = 1
            else:
                output.say(printable(f"{path}: {stage}"))
                if "$GOOGLE_ACCESS_TOKEN" in str(shown.headers):
                    output.say(_HOW_TO_SIGN_IN)
                output.data(as_curl(shown))
    return code
