"""A file that outlives a full disk: what was written can be read, before and after the failure."""

from __future__ import annotations

import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scbig_dist import new_file
from scbig_dist.new_file import PatientFile

steps = st.tuples(st.sampled_from(["write", "read", "end", "truncate"]), st.integers(0, 300), st.integers(0, 90))


@settings(max_examples=200, deadline=None)
@given(st.lists(steps, max_size=25), st.integers(0, 300))
def test_it_behaves_like_memory_whatever_the_room(tmp_path_factory, script, room):
    path = tmp_path_factory.mktemp("f") / "file"
    reference = io.BytesIO()
    real_write = io.FileIO.write
    rng = np.random.default_rng(0)

    def write(self, data):
        free = room - self.tell()
        if free <= 0 and len(data):
            raise OSError(28, "No space left on device")
        return real_write(self, data[:free])

    with pytest.MonkeyPatch.context() as patch:
        # `super().write` of PatientFile is looked up on a class between it and FileIO.
        disk = type("Disk", (io.FileIO,), {"write": write})
        limited = type("Limited", (PatientFile, disk), {})
        patch.setattr(new_file, "PAGE", 16)
        with limited(path) as file:
            for what, place, size in script:
                if what == "write":
                    data = rng.bytes(size)
                    for target in (file, reference):
                        target.seek(place)
                    assert file.write(data) == size
                    reference.write(data)
                    assert file.tell() == place + size
                elif what == "truncate" and file.error is None:
                    file.truncate(place)
                    reference.truncate(place)
                    if place > len(reference.getvalue()):
                        reference.seek(0, os.SEEK_END)
                        reference.write(b"\0" * (place - reference.tell()))
                elif what == "read":
                    size = max(0, min(size, len(reference.getvalue()) - place))
                    got = bytearray(size)
                    file.seek(place)
                    assert file.readinto(got) == size
                    assert bytes(got) == reference.getvalue()[place : place + size]
                elif what == "end" and size:
                    assert file.seek(0, os.SEEK_END) == len(reference.getvalue())
            failed = file.error is not None
    if not failed:
        assert path.read_bytes() == reference.getvalue()


def test_check_raises_the_first_failure(tmp_path):
    with PatientFile(tmp_path / "file") as file:
        file.check()
        file.error = OSError(28, "No space left on device")
        with pytest.raises(OSError, match="No space left"):
            file.check()
