"""How fast pictures are read: `pipeline.ocr` against rapidocr alone, on the same pictures, one thread each.

    python benchmarks/ocr.py scan.jpg photo.png ...      # --engine ours|bare for one of the two

Prints for each engine the processor seconds and documents a minute of one core, the slowest picture and
the peak memory, and in the end the ratio. Each engine runs in a process of its own; loading isn't counted.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps

ENGINES = ("ours", "bare")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("pictures", nargs="+", type=Path)
    parser.add_argument("--engine", choices=ENGINES, help="only this one, and its figures as JSON")
    options = parser.parse_args()
    if options.engine:
        print(json.dumps(measure(options.engine, options.pictures)))
        return
    figures = {engine: apart(engine, options.pictures) for engine in ENGINES}
    for engine, found in figures.items():
        print(
            f"{engine}: {found['seconds']:.2f} s a picture, {60 / found['seconds']:.1f} a minute and core, "
            f"slowest {found['slowest']:.2f} s, peak memory {found['peak'] / 2**20:.0f} MiB"
        )
    print(f"ratio: {figures['bare']['seconds'] / figures['ours']['seconds']:.2f}")


def apart(engine: str, pictures: list[Path]) -> dict[str, float]:
    """The figures of one engine, measured in a process of its own."""
    command = [sys.executable, __file__, "--engine", engine, *map(str, pictures)]
    ran = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(ran.stdout)
    return found


def measure(engine: str, pictures: list[Path]) -> dict[str, float]:
    """Mean and highest processor seconds a picture, and the peak of resident memory in bytes."""
    read = {"ours": ours, "bare": bare}[engine]()
    seconds = []
    for path in pictures:
        with Image.open(path) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
        start = time.process_time()
        read(picture)
        seconds.append(time.process_time() - start)
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return {"seconds": sum(seconds) / len(seconds), "slowest": max(seconds), "peak": peak}


def ours() -> Callable[[Image.Image], Any]:
    """`pipeline.ocr.read`."""
    from pipeline import ocr

    ocr.prepare()
    return ocr.read


def bare() -> Callable[[Image.Image], Any]:
    """rapidocr as it comes, with boxes of words, on one thread."""
    import cv2
    import numpy as np
    from rapidocr import RapidOCR

    cv2.setNumThreads(1)
    threads = {f"EngineConfig.onnxruntime.{kind}_op_num_threads": 1 for kind in ("intra", "inter")}
    engine = RapidOCR(params={**threads, "Global.log_level": "error"})
    engine(np.full((64, 64, 3), 255, np.uint8))  # it loads its models when it is first used
    return lambda picture: engine(np.asarray(picture)[:, :, ::-1], return_word_box=True)


if __name__ == "__main__":
    main()
