"""The three networks that ship inside the rapidocr wheel, run by onnxruntime on one thread.

Nothing of rapidocr is imported, only its model files are used: its own loader can download, makes
folders and logs. Imported by `prepare` alone: numpy, opencv and onnxruntime are heavy.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Floats = NDArray[np.float32]

#: The height that lines are recognised at, and the step of the recogniser's columns, in points of it.
HEIGHT = 48
STEP = 8
#: Lines are padded to a width of at least this, and to a multiple of `STEP`.
_LEAST_WIDTH = 64
#: A wider line is squeezed: about 200 letters.
MOST_WIDTH = 4096
#: Widths of a batch together: more saves nothing and takes memory.
_BATCH = 3200
#: What the classifier of upside-down lines takes: height and width.
_CLASSED = (48, 192)


@dataclass(frozen=True, slots=True)
class Letter:
    """One recognised character, blanks included: its place (middle of its columns, 0..1 of the crop's width)."""

    text: str
    place: float
    confidence: float


class Models:
    """Finds text, tells which way it stands, and reads it."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        cv2.ocl.setUseOpenCL(False)
        folder = _folder()
        self._finder = _session(folder, "det")
        self._classifier = _session(folder, "cls")
        self._reader = _session(folder, "rec")
        characters = self._reader.get_modelmeta().custom_metadata_map["character"].splitlines()
        self._characters = ["", *characters, " "]

    def find(self, picture: Picture) -> Floats:
        """How sure each point of a picture (sides multiples of 32) is the core of a line of text, 0..1."""
        planes = (picture.astype(np.float32).transpose(2, 0, 1) / 127.5 - 1)[None]
        found: Floats = _run(self._finder, planes)[0, 0]
        return found

    def upside_down(self, crops: Sequence[Picture]) -> Floats:
        """How sure it is of each line that it stands on its head, 0..1."""
        high, wide = _CLASSED
        batch = np.zeros((len(crops), 3, high, wide), np.float32)
        for number, crop in enumerate(crops):
            width = min(wide, max(1, round(high * crop.shape[1] / crop.shape[0])))
            small = cv2.resize(crop, (width, high))
            batch[number, :, :, :width] = small.transpose(2, 0, 1) / 127.5 - 1
        sure: Floats = _run(self._classifier, batch)[:, 1]
        return sure

    def read(self, crops: Sequence[Picture]) -> list[list[Letter]]:
        """The characters of lines, each cut out level and `HEIGHT` points high."""
        read: list[list[Letter]] = [[] for _ in crops]
        for batch in _batches([crop.shape[1] for crop in crops]):
            width = max(crops[number].shape[1] for number in batch)
            width = max(_LEAST_WIDTH, -(-width // STEP) * STEP)
            planes = np.zeros((len(batch), 3, HEIGHT, width), np.float32)
            for place, number in enumerate(batch):
                crop = crops[number]
                planes[place, :, :, : crop.shape[1]] = crop.transpose(2, 0, 1) / 127.5 - 1
            guesses = _run(self._reader, planes)
            for place, number in enumerate(batch):
                share = width / guesses.shape[1] / crops[number].shape[1]
                read[number] = list(self._letters(guesses[place], share))
        return read

    def _letters(self, guesses: Floats, share: float) -> Iterator[Letter]:
        """Greedy CTC: runs of the same best class, without the class `none` (0)."""
        best = guesses.argmax(axis=1)
        sure = guesses.max(axis=1)
        borders = np.flatnonzero(np.diff(best)) + 1
        for start, end in zip([0, *borders], [*borders, len(best)], strict=True):
            if best[start]:
                weights = sure[start:end]
                middle = float((np.arange(start, end) + 0.5) @ weights / weights.sum())
                character = self._characters[best[start]]
                yield Letter(character, middle * share, float(sure[start]))


def _folder() -> Path:
    spec = find_spec("rapidocr")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("No module named 'rapidocr'", name="rapidocr")
    return Path(spec.submodule_search_locations[0]) / "models"


def _session(folder: Path, task: str) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = False
    options.log_severity_level = 4
    files = sorted(folder.glob(f"*_{task}_*.onnx"))
    if len(files) != 1:
        raise ImportError(f"{folder} should hold one model *_{task}_*.onnx, and has {len(files)}")
    return onnxruntime.InferenceSession(
        files[0].read_bytes(), options, providers=["CPUExecutionProvider"]
    )


def _run(session: onnxruntime.InferenceSession, planes: Floats) -> Any:
    return session.run(None, {session.get_inputs()[0].name: planes})[0]


def _batches(widths: Sequence[int]) -> Iterator[list[int]]:
    """Numbers of lines that go together: of like width, `_BATCH` points in sum."""
    batch: list[int] = []
    for number in sorted(range(len(widths)), key=widths.__getitem__):
        if batch and widths[number] * (len(batch) + 1) > _BATCH:
            yield batch
            batch = []
        batch.append(number)
    if batch:
        yield batch
