"""The child process: reads documents that may be hostile, under limits, and answers over its pipes.

Started by `children.py` with an empty environment; it takes one question after the other from its
standard input and ends when that does. A question is `{"do": "load" | "cut" | "draw" | "recognise",
"module": ..., "cpu": seconds, ...}` with the file's bytes; an answer `{"found": ...}` or `{"refused": [reason,
sentence]}`. Only a child that was started with eyes has the models to recognise words.
"""

import io
import os
import resource
import sys
import traceback
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, BinaryIO

from pipeline import ocr
from pipeline.errors import LoadError
from pipeline.loaders import wire
from pipeline.loaders.kinds import LOADERS

if TYPE_CHECKING:
    from PIL.Image import Image

#: Files that may be open at once: the pipes, and what a library reads of the system (fonts).
OPEN_FILES = 32
#: A drawn page of print takes less than this many bits a dot as PNG (0.3 to 1 at 150 dpi); a scan more.
_PRINT_BITS = 2
#: JPEG quality of pages that are sent: letters stay clean, at a tenth of the size of PNG.
_QUALITY = 90


def main(memory: int, *, eyes: bool) -> None:
    """Set the limits, say that we are ready, and answer until the input ends.

    Args:
        memory: bytes of address space.
        eyes: whether to load what recognises words.

    """
    modules = {
        name: import_module(f"pipeline.loaders.{name}") for name in sorted(set(LOADERS.values()))
    }
    for module in modules.values():
        module.prepare()
    if eyes:
        ocr.prepare()
    questions, answers = _pipes()
    restrict(memory)
    sys.dont_write_bytecode = True  # it would leave empty files behind
    _write(answers, {"ready": os.getpid()})
    while (asked := wire.read_frame(questions)) is not None:
        question, content = asked
        allow_processor_time(question["cpu"])
        reply, tail = answer(modules[question["module"]], question, content)
        _write(answers, reply | {"holds": address_space()}, *tail)


def restrict(memory: int) -> None:
    """No new memory beyond `memory` bytes, no file that holds anything, few open files, no core dump."""
    for limit, value in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        try:
            resource.setrlimit(limit, (value, value))
        except (ValueError, OSError):
            # macOS refuses RLIMIT_AS; a host may have set a lower limit. The parent's clock holds anyway.
            sys.stderr.write(f"limit {limit} can't be set\n")


def allow_processor_time(seconds: int) -> None:
    """Give the next question this much processor time; the kernel ends us (SIGXCPU) when it is used up."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    soft = int(used.ru_utime + used.ru_stime) + seconds + 1
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if hard != resource.RLIM_INFINITY:
        soft = min(soft, hard)
    resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def address_space() -> int:
    """Bytes of address space that this process holds: what `restrict` limits."""
    try:
        pages = Path("/proc/self/statm").read_bytes().split()[0]
    except OSError:  # macOS, where that isn't limited; there ru_maxrss counts bytes
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(pages) * resource.getpagesize()


def answer(
    module: ModuleType, question: dict[str, Any], content: bytes
) -> tuple[dict[str, Any], list[bytes]]:
    """The JSON and the bytes that answer one question, whatever happens on the way."""
    try:
        found, tail = _found(module, question, content)
        return {"found": found}, tail
    except LoadError as error:
        return {"refused": [error.reason, str(error)]}, []
    except MemoryError:
        return {"refused": ["too_much_memory", "reading it takes more memory than is allowed"]}, []
    except Exception as error:  # noqa: BLE001, a parser can raise anything on a file made to break it
        traceback.print_exc(limit=-3)
        return {"refused": ["crashed", f"its reader stopped with {type(error).__name__}"]}, []


def _found(
    module: ModuleType, question: dict[str, Any], content: bytes
) -> tuple[dict[str, Any], list[bytes]]:
    """What was asked for, as the JSON and the bytes of an answer."""
    if question["do"] == "load":
        return wire.pack(module.load(content, question["media_type"]), content)
    if question["do"] == "cut":
        return {}, [module.cut(content, question["pages"])]
    seen = module.picture(content, question["page"], question["dpi"], question["side"])
    if question["do"] == "draw":
        return {}, [_small(seen) if question["small"] else _png(seen)]
    return wire.pack_sheet(wire.sheet_of(ocr.read(seen)))


def _png(picture: "Image") -> bytes:
    written = io.BytesIO()
    _plain(picture).save(written, "PNG", compress_level=3)
    return written.getvalue()


def _small(picture: "Image") -> bytes:
    """PNG for print, which it keeps sharp at a few bits a dot; JPEG for scans and photographs."""
    exact = _png(picture)
    if len(exact) * 8 <= _PRINT_BITS * picture.width * picture.height:
        return exact
    written = io.BytesIO()
    plain = _plain(picture)
    (plain.convert("L") if plain.mode == "1" else plain).save(written, "JPEG", quality=_QUALITY)
    return min(exact, written.getvalue(), key=len)


def _plain(picture: "Image") -> "Image":
    return picture if picture.mode in {"1", "L", "RGB"} else picture.convert("RGB")


def _pipes() -> tuple[BinaryIO, BinaryIO]:
    """Our two pipes; whatever else a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return sys.stdin.buffer, answers


def _write(stream: BinaryIO, message: dict[str, Any], *tail: bytes) -> None:
    stream.writelines(wire.frame(message, *tail))
    stream.flush()
