"""A network that breaks, stops, drips or lies: every document is answered in the end, in time, in little memory."""

import contextlib
import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path

import pytest

from tests.accounts import check
from tests.answers import Answer, Seen, error, reset
from tests.runs import FIELDS, env, receipts, started, statuses, summary, truth
from tests.server import Server

#: Another try comes at once: patience is tested elsewhere.
AT_ONCE = "import random; random.uniform = random.Random.uniform = lambda *_: 0.01"
#: Its own memory: what `wait4` says counts that of the process which started it, too.
TELL_MEMORY = """
import atexit, pathlib, re
told = lambda: re.search(r"VmHWM:\\s+(\\d+)", pathlib.Path("/proc/self/status").read_text())[1]
atexit.register(lambda: pathlib.Path("memory").write_text(told()))
"""
#: As README promises, in bytes.
MEMORY = 150 * 2**20


@lru_cache(maxsize=1)
def bomb() -> bytes:
    """Zeros, four times as many as an answer may have, in a few kilobytes."""
    return gzip.compress(bytes(64 * 2**20), 1)


def breaking(seen: Seen) -> list[Answer]:
    """What goes wrong with an answer on its way; each of them can pass."""
    good = truth(seen)
    return [
        reset(),
        reset(billed=True),
        replace(good, fault="half"),
        replace(good, fault="too_long"),
        replace(good, fault="too_short"),
        replace(good, body=b'{"candidates": [{"content"'),
        error(503, "The model is overloaded"),
        error(500, "internal"),
        error(504, "deadline"),
        replace(good, fault="chunked"),
    ]


def stopping(seen: Seen) -> list[Answer]:
    """What never ends, or is larger than any answer."""
    good = truth(seen)
    return [
        replace(good, hold=True),
        replace(good, fault="stall"),
        replace(good, fault="trickle"),
        Answer(fault="endless", billed=True),
        Answer(fault="endless", billed=True, headers={"Content-Length": str(10**9)}),
        Answer(200, bomb(), {"Content-Encoding": "gzip"}, billed=True),
    ]


@pytest.mark.parametrize(("faults", "count", "jobs"), [(breaking, 10, 8), (stopping, 6, 2)])
def test_every_document_is_answered_when_the_first_try_went_wrong(
    tmp_path: Path, faults: Callable[[Seen], list[Answer]], count: int, jobs: int
) -> None:
    """One retry a document, no more; the deadline of the whole request holds; memory stays small."""
    tried: dict[str, int] = {}

    def reply(seen: Seen) -> Answer:
        tried[seen.fingerprint] = tried.get(seen.fingerprint, 0) + 1
        if tried[seen.fingerprint] > 1:
            return truth(seen)
        wrong = faults(seen)
        return wrong[len(tried) - 1]

    with Server(reply) as server:
        work = receipts(tmp_path, count)
        write_pipeline(work, jobs)
        used = used_by(work, server.url)
        sent = len(server.requests)
    assert statuses(work) == {"valid": count}
    assert check(work / "out", [f"{number:04}.txt" for number in range(count)]) == []
    assert sent == 2 * count - (faults is breaking), "another framing is no fault"
    assert used < MEMORY


def write_pipeline(work: Path, jobs: int) -> None:
    (work / "pipeline.toml").write_text(
        f'[run]\ninput = "inbox"\noutput = "out"\njobs = {jobs}\ntimeout = 2\n'
        f'[[stage]]\nname = "r"\nschema = "{FIELDS}"\n'
    )


def used_by(work: Path, url: str, code: int = 0) -> int:
    """Run, and the most memory that the run had, in bytes."""
    with started(work, env(url), arguments=("run",), patch=AT_ONCE + TELL_MEMORY) as client:
        client.end()
    assert client.process.returncode == code, client.told
    return int((work / "memory").read_text()) * 1024


NO_NAMES = """
import socket
def unknown(*_, **__): raise socket.gaierror(-2, "Name or service not known")
socket.getaddrinfo = unknown
"""


@pytest.mark.parametrize("trouble", ["no name", "refused", "certificate"])
def test_a_service_that_is_out_of_reach_ends_the_run_with_one_sentence(
    tmp_path: Path, trouble: str
) -> None:
    work = receipts(tmp_path, 3)
    write_pipeline(work, 2)
    with contextlib.ExitStack() as stack:
        url = {"no name": "https://service.invalid", "refused": "http://127.0.0.1:9"}.get(trouble)
        url = url or stack.enter_context(signed_by_itself(tmp_path))
        patch = AT_ONCE + (NO_NAMES if trouble == "no name" else "")
        with started(work, env(url), arguments=("run",), patch=patch) as client:
            assert client.end() == 4, client.told
    said = [line for line in client.told.splitlines() if "error" in line.lower()]
    assert len(said) == 1, client.told
    assert "can't be reached" in said[0]
    assert {"no name": "not known", "refused": "attempts failed", "certificate": "certificate"}[
        trouble
    ] in said[0]
    assert url in said[0]
    assert summary(work)["money"]["calls"] == 0


@contextlib.contextmanager
def signed_by_itself(folder: Path) -> Iterator[str]:
    """A TLS server whose certificate nobody vouches for."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(1)
    )
    pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    pem += key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.pem").write_bytes(pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with (
                        contextlib.suppress(OSError),
                        context.wrap_socket(connection, server_side=True),
                    ):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield f"https://127.0.0.1:{listening.getsockname()[1]}"
        listening.shutdown(socket.SHUT_RDWR)
