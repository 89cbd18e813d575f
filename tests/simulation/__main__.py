"""Plays one seed, or a range of them: `python -m tests.simulation 96`, `... till 0 1000`; what happened in one line each."""

import sys

from tests.simulation import played, scene, till


def main() -> None:
    """Play what the command line names; the hash of all that happened stands first."""
    given = sys.argv[1:]
    make = till if given[0] == "till" else scene
    first, *last = map(int, given[make is till :])
    for seed in range(first, *(last or [first + 1])):
        story = played(make(seed))
        print(story.digest, seed, *story.lives, sep="\t")


main()
