"""Makes the steps of an engine by replaying captured ones where there are any.

A kind of step (with or without a hypergradient, of the warm-up) is captured the third time it comes: the first step may
create the state of optimizers, the second tells which inputs it takes from the host.
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from genseg_betty.multilevel.captured_step import CapturableLevel, CapturedStep, InputListener
from genseg_betty.multilevel.cuda_graphs import Backend
from genseg_betty.multilevel.step_inputs import listen


class StepGraphs:
    """Makes the steps of an engine, by replaying captured ones where there are any.

    Args:
        levels: all levels of the engine.
        backend: what captures.
        tell: is told, once, why steps are launched kernel by kernel.
    """

    def __init__(self, levels: Sequence[CapturableLevel], backend: Backend, tell: Callable[[str], None]) -> None:
        self.levels = levels
        self.backend = backend
        self.tell = tell
        self.refused = False
        self.replayed = 0
        self._seen: set[Hashable] = set()
        self._learned: dict[Hashable, CapturedStep] = {}

    def forget(self) -> None:
        """Drop all graphs: tensors that they write to were replaced."""
        self._seen.clear()
        self._learned.clear()

    def run(self, kind: Hashable, step: Callable[[], None]) -> None:
        """Make one step.

        Args:
            kind: steps of one kind run the same Python and the same kernels.
            step: makes it plainly.
        """
        with self.backend.on_own_stream():
            if self.refused or kind not in self._seen:
                self._seen.add(kind)
                step()
            elif kind not in self._learned:
                self._listen_to(kind, step)
            else:
                self._replay(self._learned[kind], step)

    def _listen_to(self, kind: Hashable, step: Callable[[], None]) -> None:
        """Make the step plainly and learn its inputs; refuse to capture a step that waits for the device."""
        before = {level.name: level.count for level in self.levels}
        listener = InputListener(self.backend)
        with listen(listener), self.backend.find_waits() as waits:
            step()
        stepped = [level for level in self.levels if level.count > before[level.name]]
        if waits:
            self._refuse(f"it waits for the GPU ({waits[0]})")
        elif any(level.count != before[level.name] + 1 for level in stepped):
            self._refuse("a level makes several updates in it")
        else:
            self._learned[kind] = CapturedStep(stepped, before, listener.stretches)

    def _replay(self, captured: CapturedStep, step: Callable[[], None]) -> None:
        before = {level.name: level.host_state() for level in captured.levels}
        if captured.graph is None:
            try:
                captured.capture(step, self.backend)
            except Exception as error:  # whatever an operator or CUDA finds wrong: the plain step is still there
                self._restore(before)
                self._refuse(_first_line(error.__context__ or error))  # ending a broken capture raises as well
                step()
                return
            self._restore(before)
        captured.fill_inputs()
        assert captured.graph is not None
        captured.graph.replay()
        for level in captured.levels:
            level.advance_count()
        self.replayed += 1

    def _restore(self, states: dict[str, dict[str, Any]]) -> None:
        for level in self.levels:
            if level.name in states:
                level.restore_host_state(states[level.name])
                level.end_step()

    def _refuse(self, reason: str) -> None:
        self.refused = True
        self._learned.clear()
        self.tell(f"steps are launched kernel by kernel, which is slower: no CUDA graph of a step, since {reason}")


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines() or ["no message"]
    return f"{type(error).__name__}: {lines[0]}"
