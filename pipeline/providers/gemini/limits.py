"""Settings that a Gemini model can't take, refused before anything is sent."""

import re
from typing import Final

from pipeline.errors import UsageError
from pipeline.providers import Endpoint, Settings, bounds
from pipeline.stages import TOOLS, Stage

#: What a function may be called (`FunctionDeclaration.name`, google-genai 3.4.0).
_FUNCTION_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,127}")


def check(asked: Settings | Stage, endpoint: Endpoint, *, as_json: bool = True) -> None:
    """Refuse settings that the model can't take, before anything is sent.

    A model that is not in the catalogue is asked for whatever is wanted. `as_json` says whether the
    answer has to be JSON, as that of every stage has.

    Raises:
        UsageError: see `bounds.check`; a seed outside 32 bits, a tool that there is not, tools that
            the model can't combine.

    """
    bounds.check(asked, endpoint)
    if asked.seed is not None and not -(2**31) <= asked.seed < 2**31:
        raise UsageError(f"seed {asked.seed}: it is a number of 32 bits")
    _check_tools(asked, endpoint, as_json=as_json)


def _check_tools(asked: Settings | Stage, endpoint: Endpoint, *, as_json: bool) -> None:
    """What may stand beside what: all of it on Gemini 3, tools of one kind and no JSON before.

    Sources: the 400s "Tool use with function calling is unsupported", "Function calling with a
    response mime type: 'application/json' is unsupported" and "Tool use with a response mime type:
    'application/json' is unsupported" of the 2.5 models (symfony/ai issue 803, snailyp/gemini-balance
    issue 264); for Gemini 3 the pages structured-output and tool-combination of ai.google.dev.
    """
    own = [tool for tool in asked.tools if isinstance(tool, str)]
    functions = (
        [tool.name for tool in asked.functions]
        if isinstance(asked, Settings)
        else list(asked.functions)
    )
    if strange := [tool for tool in own if tool not in TOOLS]:
        raise UsageError(f"{strange[0]!r} is no tool of the service; there are {', '.join(TOOLS)}")
    for name in functions:
        if not _FUNCTION_NAME.fullmatch(name):
            raise UsageError(
                f"a function can't be called {name!r}: letters, digits and _ . : - are taken, a letter or _ first"
            )
    known = endpoint.known
    if known is None or known.combines or not (own or functions):
        return
    way_out = "take a Gemini 3 model, or leave the tools out"
    if as_json:
        raise UsageError(f"{known.id} can't use tools for an answer in JSON: {way_out}")
    if own and functions:
        raise UsageError(
            f"{known.id} can't have functions beside {', '.join(own)}: take a Gemini 3 model, or one kind of tools"
        )
