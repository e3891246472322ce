"""The right to make an artefact: one holder at a time on any nodes, handed on where the holder is gone.

Nothing rests on it but work: two who both believed to hold it would make the same artefact twice, and
the first to finish would win. So a holder that only seemed dead does no harm.
"""

from __future__ import annotations

import uuid
from contextlib import suppress
from typing import Protocol

from scbig_dist.artifacts.owners import Heart, Watcher
from scbig_dist.artifacts.place import Bucket, Disk

FOLDER = ".claims"
RELEASED = "released"


class Claim(Protocol):
    def held(self) -> bool:
        """Whether it is ours by now. Asked again and again."""
        ...

    def give_up(self, made: bool) -> None:
        """Let the next one have it; `made`: there is nothing left to make."""
        ...


class DiskClaim:
    """On a file system: `NAME.000001` is created by one and holds its owner's id.

    Creating a file that is not there is the one step that network file systems too do for one caller only.
    Where the owner of the last number is gone, the next number is created in the same way: of several who
    noticed, one succeeds. Numbers are removed when the artefact stands, and not before: who comes late with an
    old view then finds the artefact.
    """

    def __init__(self, place: Disk, name: str, heart: Heart, watcher: Watcher) -> None:
        self._place, self._name, self._own, self._watcher = place, name, heart.id, watcher
        self._number = 0

    def held(self) -> bool:
        number = 1
        while not self._number:
            file = self._file(number)
            content = self._place.read(file)
            if content is None:
                if not self._place.create(file, self._own.encode()):
                    return False  # another was quicker
                self._number = number
            elif self._is_free(file, content.decode(errors="replace")):
                number += 1
            else:
                return False
        return True

    def _is_free(self, file: str, owner: str) -> bool:
        if owner == RELEASED:
            return True
        # Empty: its creator is just about to write its id, or died in that moment.
        return self._watcher.gone(owner) if owner else self._watcher.silent(file, owner)

    def give_up(self, made: bool) -> None:
        if self._number and not made:
            self._place.write(self._file(self._number), RELEASED.encode())
        elif self._number:
            for number in range(1, self._number + 1):
                self._place.remove(self._file(number))
        self._number = 0

    def _file(self, number: int) -> str:
        return f"{FOLDER}/{self._name}.{number:06d}"


class BucketClaim:
    """On object storage, where two can create the same object: Lamport's bakery, with objects for tickets.

    Everybody takes a number above all that can be seen, and shows while choosing that this goes on; the
    lowest has the claim. It rests on what S3, GCS and Azure give: a listing shows every object that was written before.
    """

    def __init__(self, place: Bucket, name: str, heart: Heart, watcher: Watcher) -> None:
        self._place, self._folder, self._watcher = place, f"{FOLDER}/{name}", watcher
        self._token = f"{heart.id}-{uuid.uuid4().hex[:8]}"
        self._number = 0
        choosing = f"{self._folder}/choosing-{self._token}"
        try:
            place.write(choosing, b" ")
            self._number = 1 + max((number for number, _ in self._others()), default=0)
            place.write(self._ticket, b" ")
        finally:
            place.remove(choosing)

    @property
    def _ticket(self) -> str:
        return f"{self._folder}/{self._number:08d}-{self._token}"

    def held(self) -> bool:
        for number, token in self._others():
            if self._watcher.gone(token.split("-")[0]):
                for name in (f"choosing-{token}", f"{number:08d}-{token}"):
                    self._place.remove(f"{self._folder}/{name}")
            elif (number, token) < (self._number, self._token):  # one who chooses has 0 for a number
                return False
        return True

    def give_up(self, made: bool) -> None:
        self._place.remove(self._ticket)

    def _others(self) -> list[tuple[int, str]]:
        found = []
        for name in self._place.names(self._folder):
            head, _, token = name.partition("-")
            with suppress(ValueError):
                if token != self._token:
                    found.append((0 if head == "choosing" else int(head), token))
        return found


def make_claim(place: Disk | Bucket, name: str, heart: Heart, watcher: Watcher) -> Claim:
    """A claim that is not held yet."""
    return (DiskClaim if isinstance(place, Disk) else BucketClaim)(place, name, heart, watcher)  # type: ignore[arg-type]
