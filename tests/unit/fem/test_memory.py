"""What is free, and what is kept of what was freed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from kyphos.errors import InputError
from kyphos.fem import memory
from kyphos.fem.memory import kept_memory


def test_a_need_beyond_what_is_free_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2e9)
    memory.require(1.9e9, "a matrix", "try less")
    with pytest.raises(InputError, match=r"a matrix would need about 3\.0 GB of memory, 2\.0 GB are free; try less"):
        memory.require(3e9, "a matrix", "try less")


@pytest.mark.skipif(memory._gnu() is None, reason="not the GNU C library")
def test_a_freed_array_is_kept_and_counts_as_free_until_the_end():
    # a process of its own: what other tests have left in the heap would blur the numbers
    code = """
import numpy as np
from kyphos.fem import memory
with memory.kept_memory():
    before = memory._kept_bytes()
    np.ones(20_000_000)
    during = memory._kept_bytes()
print(during - before, memory._kept_bytes() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    during, after = map(float, done.stdout.split())
    assert during > 150e6
    assert after < 20e6


def test_elsewhere_nothing_is_kept(monkeypatch):
    monkeypatch.setattr(memory, "_gnu", lambda: None)
    with kept_memory():
        assert memory._kept_bytes() == 0.0
