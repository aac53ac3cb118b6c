"""Kernels compiled before the first study needs them: each problem's in a process of its own.

numba compiles one kernel at a time in a process, whatever its threads. Two processes halve the wait
of a first run, and begin while the layers are extracted; numba's cache takes what they compile.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from bounds.problem.methods import find_method


@contextmanager
def compiling(methods: Mapping[str, Sequence[str]]) -> Iterator[None]:
    """Compile the kernels of ``methods`` (per problem) beside the block; wait for the rest of it.

    An error of the block ends the compilers; their own errors are nobody's concern, for a kernel
    that is not in the cache is compiled when it is used.
    """
    started = []
    try:
        for problem in methods:
            # The new process knows the package's own methods only, and need compile no others.
            ours = [name for name in methods[problem] if find_method(problem, name).ours]
            command = [sys.executable, "-m", __name__, problem, *ours]
            started.append(
                subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        yield
        for process in started:
            process.wait()
    finally:
        for process in started:
            process.kill()
            process.wait()


def uncompiled(methods: Mapping[str, Sequence[str]]) -> list[str]:
    """The problems whose ``methods`` need a kernel that numba has not cached."""
    from bounds.problem.kernels import NotCompiledError, refusing

    found = []
    for problem in methods:
        try:
            with refusing():
                compile_all(problem, methods[problem])
        except NotCompiledError:
            found.append(problem)
    return found


def compile_all(problem: str, methods: Sequence[str]) -> None:
    """Compile, or load, every kernel that ``methods`` of a problem can reach."""
    from bounds.problem.kernels import compile_kernels

    for method in methods:
        compile_kernels(find_method(problem, method))


if __name__ == "__main__":
    compile_all(sys.argv[1], sys.argv[2:])
