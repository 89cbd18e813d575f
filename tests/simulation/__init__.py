"""A seeded simulation: the real engine on a virtual clock, before a service that fails, in processes that die."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.simulation.scene import Scene, scene, till
from tests.simulation.world import Story, World, check

__all__ = ["Scene", "Story", "World", "all_played", "check", "played", "scene", "till"]


def played(made: Scene, *, folder: Path | None = None) -> Story:
    """Play a scene to its end and check what is promised."""
    with TemporaryDirectory(dir=folder or _memory()) as place:
        world = World(made, Path(place))
        story = world.play()
        check(world)
        return story


def all_played(make: Callable[[int], Scene], seeds: range) -> list[Story]:
    """The stories of many seeds, on all processors."""
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        return list(pool.map(_made_and_played, repeat(make), seeds, chunksize=5))


def _made_and_played(make: Callable[[int], Scene], seed: int) -> Story:
    return played(make(seed))


def _memory() -> Path | None:
    """Files in memory, where the system has them: nothing here waits for a disk."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else None
