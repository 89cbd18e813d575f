"""Bodies with files in them: what is sent in pieces is what is shown whole, to the byte."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.document import Part
from pipeline.providers.pieces import File, pieces, size, stream, whole

FILES = st.builds(
    File,
    st.binary(max_size=50).map(lambda data: Part("image", "image/png", data=data)),
    st.sampled_from(["", "data:image/png;base64,", 'quo"ted\\']),
)
BODIES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | FILES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(BODIES)
@settings(max_examples=200, deadline=None)
def test_the_pieces_together_are_the_whole(body: Any) -> None:
    """Files at any place, texts of any kind between them; the size is told before."""
    joined = pieces(body)
    sent = b"".join(stream(joined))
    assert size(joined) == len(sent)
    shown = json.loads(json.dumps(whole(body)).encode())
    assert json.loads(sent) == shown


def test_a_file_is_not_copied_before_it_is_sent() -> None:
    """The pieces hold the part itself, and give its base64 in chunks that can be joined."""
    part = Part("pdf", "application/pdf", data=bytes(range(256)) * 4096)
    joined = pieces({"a": [File(part)], "b": "x"})
    assert any(piece is part for piece in joined)
    chunks = list(stream(joined))
    assert len(chunks) > 5
    assert json.loads(b"".join(chunks)) == whole({"a": [File(part)], "b": "x"})
