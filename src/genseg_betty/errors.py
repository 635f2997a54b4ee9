"""Errors meant for the person at the keyboard: printed as they are, without a traceback."""

from collections.abc import Sequence

from genseg_betty.terminal import harmless


class UserError(Exception):
    """Something the user can mend. The message says what was found, what was expected and how to mend it.

    Printed, it is harmless to a terminal, whatever names it quotes.
    """

    def __str__(self) -> str:
        return harmless(super().__str__())


class Interrupted(BaseException):
    """The training was asked to stop by a signal, and its state is safely on disk.

    Like KeyboardInterrupt it is no Exception, so that nothing that survives the failure of one training (such
    as a sweep) takes it for a failure and goes on.
    """

    def __init__(self, signal_number: int) -> None:
        super().__init__(f"interrupted by signal {signal_number}")
        self.signal_number = signal_number


class ConfigError(UserError):
    """Everything that is wrong with a configuration, in `problems`."""

    def __init__(self, problems: Sequence[str], title: str = "in the configuration") -> None:
        self.problems = tuple(dict.fromkeys(problems))
        count = len(self.problems)
        noun = "problems" if count > 1 else "problem"
        lines = [f"{count} {noun} {title}:"]
        lines += [f"  - {problem}" for problem in self.problems]
        super().__init__("\n".join(lines))
