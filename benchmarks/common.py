"""What every benchmark shares: the machine's limits, timing in turn, memory, and the page of results."""

from __future__ import annotations

import ctypes
import gc
import os
import platform
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
PRODUCT = 2048  # side of the matrices whose product is the unit of arithmetic
PRODUCT_FLOP = 2 * PRODUCT**3


@dataclass
class Timing:
    """Seconds per call of one contestant, a value per round."""

    seconds: list[float] = field(default_factory=list)

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def spread(self, scale: float = 1.0, digits: int = 0) -> str:
        """`median (lowest to highest)`, times `scale`."""
        low, middle, high = (scale * value for value in (min(self.seconds), self.median, max(self.seconds)))
        return f"{middle:,.{digits}f} ({low:,.{digits}f} to {high:,.{digits}f})"


def in_turn(contestants: Mapping[str, Callable[[], object]], rounds: int, warm: int = 1) -> dict[str, Timing]:
    """Call each contestant once per round, in turn, so that a slow moment of the machine meets all of them."""
    timings = {name: Timing() for name in contestants}
    for round_ in range(warm + rounds):
        for name, run in contestants.items():
            began = time.perf_counter()
            run()
            if round_ >= warm:
                timings[name].seconds.append(time.perf_counter() - began)
    return timings


def ratios(one: Timing, other: Timing) -> Timing:
    """`one` ÷ `other`, round by round: what two contestants of the same rounds compare by."""
    return Timing([a / b for a, b in zip(one.seconds, other.seconds, strict=True)])


def product() -> Callable[[], object]:
    """A 2048³ float32 matrix product on torch's threads: the unit that steps are measured in."""
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(PRODUCT, PRODUCT, generator=generator) for _ in range(2))
    out = torch.empty(PRODUCT, PRODUCT)
    return lambda: torch.mm(one, other, out=out)


def gflops(products: Timing) -> float:
    """GFLOP/s of `product()`."""
    return PRODUCT_FLOP / products.median / 1e9


def machine() -> str:
    """One line: processor, cores, memory, the matmul peak of one thread and the rate of a copy, now."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    source, target = np.ones(1 << 25, dtype=np.float32), np.empty(1 << 25, dtype=np.float32)
    timed = in_turn({"product": product(), "copy": lambda: np.copyto(target, source)}, rounds=9, warm=2)
    torch.set_num_threads(threads)
    rate = 2 * source.nbytes / timed["copy"].median / 1e9
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {memory:.0f} GiB; one thread: float32 product "
        f"{gflops(timed['product']):.0f} GFLOP/s, memcpy {rate:.1f} GB/s (read + written)"
    )


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def anonymous_gb() -> float:
    """Anonymous resident memory of this process (RssAnon: pages of mapped files do not count), GB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024 / 1e9
    raise OSError("/proc/self/status has no RssAnon: benchmarks need Linux")


class Peak:
    """Highest anonymous memory inside a `peak_memory()` block, GB; `over`: above what stood before."""

    def __init__(self) -> None:
        self.before = self.gb = anonymous_gb()

    @property
    def over(self) -> float:
        return self.gb - self.before


@contextmanager
def peak_memory(every_s: float = 0.002):
    """Watch RssAnon from a thread; yields the `Peak` that it fills."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)  # what earlier work has freed goes back to the system first
    peak, done = Peak(), threading.Event()

    def watch() -> None:
        while not done.wait(every_s):
            peak.gb = max(peak.gb, anonymous_gb())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield peak
    finally:
        done.set()
        thread.join()
        peak.gb = max(peak.gb, anonymous_gb())


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def write_section(name: str, title: str, body: str, seconds: float) -> None:
    """Keep a benchmark's section, and put RESULTS.md together anew from all sections on disk.

    Sections stand in the order of their names; `name` begins with a number, e.g. `20-reading`.
    """
    folder = HERE / "results"
    folder.mkdir(exist_ok=True)
    note = f"*{date.today()}, {seconds:.0f} s. {machine()}*"
    (folder / f"{name}.md").write_text(f"## {title}\n\n{note}\n\n{body.strip()}\n")
    parts = [path.read_text() for path in sorted(folder.glob("*.md"))]
    intro = (
        "# What was measured\n\nWritten by `make bench`; every section by one command under `benchmarks/`, which its text names. "
        "Figures are medians (lowest to highest) of rounds taken in turn in one process; ratios are taken round by round. "
        "The machine is shared: trust ratios, not single times. A *product* is a float32 matrix product of 2048³ on one thread, "
        "timed in the same rounds.\n\n"
    )
    (HERE / "RESULTS.md").write_text(intro + "\n".join(parts))
    print(f"\n{title}\n\n{body}\n\nwritten to benchmarks/RESULTS.md")
