"""Freed memory is kept; counted in page faults, each in a process of its own, whose allocator is as it starts."""

import json
import subprocess
import sys

import pytest

from genseg_betty.memory import _find_glibc

COUNT = """
import json, resource, torch
from genseg_betty import memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(4):
        [torch.empty(2**22).fill_(1.0) for _ in range(12)]  # 12 x 16 MiB, 4096 pages each
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def held():
    return int(open("/proc/self/statm").read().split()[1]) * 4096

SETTING
faults()
again = faults()
peak = held()
memory.return_freed()
print(json.dumps({"faults": again, "returned": peak - held()}))
"""
pytestmark = pytest.mark.skipif(_find_glibc() is None, reason="the C library is not glibc")


def counted(setting):
    code = COUNT.replace("SETTING", setting)
    return json.loads(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)


def test_freed_memory_serves_the_next_tensors():
    assert counted("memory.reuse_freed()")["faults"] < 1000  # of 196608 pages
    # What glibc does by itself varies; this is what it does at the start, when it maps each tensor anew.
    assert counted("memory._find_glibc().mallopt(memory.M_MMAP_THRESHOLD, 2**20)")["faults"] > 100000


def test_much_spare_memory_is_given_back():
    pieces = "memory.reuse_freed(); memory.SPARE = 2**25"
    assert counted(pieces)["returned"] > 2**25
    assert counted("memory.reuse_freed()")["returned"] < 2**24  # within SPARE: kept
