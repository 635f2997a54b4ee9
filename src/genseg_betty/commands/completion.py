"""`genseg completion bash|zsh|fish`: a script by which a shell completes commands, options, groups, members and keys.

The script asks `genseg __complete` at every TAB, which answers from the tables that the help and the check of a config
are made of. Libraries complete argparse alone; most of what is typed here are overrides. Nothing is offered where a
file is expected: the shell offers files itself.
"""

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence

from genseg_betty.commands.keys import find_keys, list_values
from genseg_betty.commands.shared import Action, make_parser
from genseg_betty.config import all_members, user_folder
from genseg_betty.errors import UserError

SCRIPTS = {
    "bash": """\
_genseg() {
    local IFS=$'\\n'
    COMPREPLY=($("${COMP_WORDS[0]}" __complete "$COMP_CWORD" "${COMP_WORDS[@]}" 2>/dev/null))
    [[ ${COMPREPLY[0]} == *[=.] ]] && compopt -o nospace 2>/dev/null
    return 0
}
complete -o default -F _genseg genseg
""",
    "zsh": """\
#compdef genseg
_genseg() {
    local -a found
    found=("${(@f)$("${words[1]}" __complete $((CURRENT - 1)) "${words[@]}" 2>/dev/null)}")
    if [[ -n "${found[1]}" ]]; then
        compadd -S '' -- ${(M)found:#*[=.]}
        compadd -- ${found:#*[=.]}
    else
        compset -P '*='
        _files
    fi
}
compdef _genseg genseg
""",
    "fish": """\
function __genseg_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -a words "$current"
    set -l found ($words[1] __complete (math (count $words) - 1) $words 2>/dev/null)
    if test -n "$found"
        printf '%s\\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c genseg -f -a '(__genseg_complete)'
""",
}

Actions = Mapping[str, Action]


def complete(
    cursor: int, words: Sequence[str], train: argparse.ArgumentParser, verbs: Mapping[str, Action | Actions]
) -> list[str]:
    """What may stand at the cursor.

    Args:
        cursor: the number of the word that is typed.
        words: those of the command line, the program's name first. bash cuts them at `=`, other shells do not.
        train: the options of a training.
        verbs: the other commands; one with actions of its own has a table of them.

    Returns the candidates in the place of `words[cursor]`; none where a file is expected.
    """
    before, current, cut = _joined(words[1 : cursor + 1])
    try:
        found = _candidates(before, current, train, verbs)
    except UserError:  # such as a --config-dir that is not there yet
        return []
    return [word[cut:] for word in found if word.startswith(current)]


def _joined(words: Sequence[str]) -> tuple[list[str], str, int]:
    """The words before the cursor, the one at it, and how many of its letters stand before the shell's own word."""
    joined: list[str] = []
    cut = 0
    for index, word in enumerate(words):
        if joined and (word == "=" or words[index - 1] == "=") and index:
            cut = len(joined[-1]) + (word == "=")
            joined[-1] += word
        else:
            joined.append(word)
            cut = 0
    return (joined[:-1], joined[-1], cut) if joined else ([], "", 0)


def _candidates(
    before: list[str], current: str, train: argparse.ArgumentParser, verbs: Mapping[str, Action | Actions]
) -> list[str]:
    helping = before[:1] == ["help"]
    before = before[1:] if helping else before
    first = before[0] if before else ""
    action = verbs.get(first)
    if isinstance(action, Mapping):
        if len(before) == 1:
            return list(action)
        action = action.get(before[1])
        before = before[1:]
    if helping:
        return ["train", *verbs] if not before else []
    if action is not None:
        return _of_verb(make_parser(first, action), before[1:], current)
    names = ["help", "train", *verbs] if not before else []
    return names + _of_training(train, before, current)


def _of_training(parser: argparse.ArgumentParser, before: list[str], current: str) -> list[str]:
    if (values := _of_option(parser, before, current)) is not None:
        return values
    members = all_members(user_folder(_config_dir(before)))
    chosen = dict(word.lstrip("+").split("=", 1) for word in before if "=" in word)
    plain = current.lstrip("+~")
    start = current[: len(current) - len(plain)]
    return [start + word for word in _of_override(plain, members, chosen)]


def _of_verb(parser: argparse.ArgumentParser, before: list[str], current: str) -> list[str]:
    """Candidates of a verb's arguments: a data set's name or keys, or nothing where files are expected."""
    if (values := _of_option(parser, before, current)) is not None:
        return values
    positional = [action for action in parser._actions if not action.option_strings]
    given = sum(not word.startswith("-") for word in before)
    expected = positional[min(given, len(positional) - 1)] if positional else None
    if expected is None:
        return []
    if expected.choices:
        return [str(choice) for choice in expected.choices]
    members = all_members(user_folder(_config_dir(before)))
    if expected.metavar == "DATASET":
        return members["dataset"]
    if expected.metavar == "KEY=VALUE":
        found = _of_override(f"dataset.{current}", members, {})
        return [word.removeprefix("dataset.") for word in found if word.startswith("dataset.")]
    return []


def _of_option(parser: argparse.ArgumentParser, before: list[str], current: str) -> list[str] | None:
    """Options, or the values of the one before the cursor; None where neither is typed."""
    last = next((action for action in parser._actions if before and before[-1] in action.option_strings), None)
    if last is not None and last.nargs is None:
        if last.metavar == "NAME":
            return all_members(user_folder(_config_dir(before)))["dataset"]
        return [str(choice) for choice in last.choices or ()]
    if not current.startswith("-"):
        return None
    return [option for action in parser._actions for option in action.option_strings]


def _of_override(current: str, members: Mapping[str, Sequence[str]], chosen: Mapping[str, str]) -> list[str]:
    """`back` -> `backbone=`, `backbone=un` -> `backbone=unet`, …; keys one section at a time."""
    key, equals, value = current.partition("=")
    keys = find_keys(chosen)
    if equals:
        start = value[: re.search(r"[^,\[]*$", value).start()]  # type: ignore[union-attr]  # it finds an end always
        names = members["dataset"] if key in ("ood", "dataset.ood") else list_values(keys.get(key))
        values = members.get(key) or names
        return [f"{key}={start}{name}" for name in values]
    depth = current.count(".")
    steps = dict.fromkeys(_next_step(name, depth) for name in keys if name.count(".") >= depth)
    return [f"{group}=" for group in members if not depth] + list(steps)


def _next_step(name: str, depth: int) -> str:
    """A key up to the section that comes next: `trainer.optimizers.segmenter.lr` -> `trainer.`."""
    parts = name.split(".")
    return f"{name}=" if len(parts) == depth + 1 else ".".join(parts[: depth + 1]) + "."


def _config_dir(words: Iterable[str]) -> str | None:
    words = list(words)
    places = [index for index, word in enumerate(words[:-1]) if word == "--config-dir"]
    return words[places[-1] + 1] if places else None
