"""The config of a training: composed from conf/ by Hydra, overridden by the user, resolved and checked.

YAML files in conf/ and in a user's own `--config-dir` name code by `_target_`, which is imported and run.

Hydra is imported where something is composed: what there is to choose from, a shell's completion asks at every key.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from genseg_betty.config.checking import check, check_dataset_section
from genseg_betty.config.wording import show, spell_out
from genseg_betty.errors import ConfigError, UserError

if TYPE_CHECKING:
    from omegaconf import DictConfig

BETTY = "0.2.1"
MOST_LOST = 20  # interpolations that lead nowhere, before the check ends


def require_betty() -> None:
    """Raise UserError, with the command that mends it, unless the Betty that we are built on is installed."""
    try:
        found = version("betty-ml")
    except PackageNotFoundError:
        found = None
    if found != BETTY:
        raise UserError(
            f"training needs betty-ml {BETTY}, found {found or 'none'}. Its metadata names older Pythons "
            "only, so install it by itself:\n"
            f"  uv pip install --no-deps betty-ml=={BETTY}\n"
            f"or\n  pip install --no-deps --ignore-requires-python betty-ml=={BETTY}"
        )


def conf_dir() -> Path:
    """The folder of the Hydra groups: inside an installed package, or conf/ of a checkout."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "conf", package.parents[1] / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise UserError(f"the folder conf/ is missing beside {package}: install genseg-betty anew")


def group_names() -> list[str]:
    """The groups that can be chosen from: the folders of conf/."""
    return sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir())


def group_members(group: str, config_dir: str | Path | None = None) -> list[str]:
    """What `group` can be set to, the YAML files of the user's own folder included."""
    folders = [conf_dir(), *([Path(config_dir)] if config_dir else [])]
    return sorted({file.stem for folder in folders for file in (folder / group).glob("*.yaml")})


def dataset_names(config_dir: str | Path | None = None) -> list[str]:
    """The datasets that have a YAML file."""
    return group_members("dataset", config_dir)


def all_members(config_dir: str | Path | None = None) -> dict[str, list[str]]:
    """Every group with its members."""
    return {group: group_members(group, config_dir) for group in group_names()}


def user_folder(config_dir: str | Path | None) -> Path | None:
    """The user's own folder of YAML files, absolute. Raises UserError if there is none."""
    if config_dir is None:
        return None
    try:
        folder = Path(config_dir).expanduser().resolve()
        there = str(config_dir) != "" and folder.is_dir()
    except (TypeError, ValueError, RuntimeError, OSError):  # no path, or of a user who has no home
        there = False
    if not there:
        raise UserError(f"--config-dir {show(config_dir)}: no such folder; expected YAML files laid out as in conf/")
    return folder


Composed = dict[tuple[Any, ...], tuple["DictConfig", dict[str, str | None]]]
"""What Hydra has made of chosen members, for callers that compose many configs at once."""


def compose(
    overrides: Sequence[str], config_dir: str | Path | None = None, composed: Composed | None = None
) -> "DictConfig":
    """The resolved and checked config of one training; `run_dir` is filled in, `origins` and `reduced` are told.

    Args:
        overrides: as on the command line; `+dataset=x` and `dataset=x` are the same.
        config_dir: a folder of the user's own YAML files, laid out as conf/; kept in `config.config_dir`.
        composed: filled, and asked before Hydra is.

    Raises:
        ConfigError: a UserError that names every fault, and the nearest right key or member.
    """
    from omegaconf import OmegaConf

    from genseg_betty.config import overrides as overriding
    from genseg_betty.config.naming import default_run_dir, run_dir_faults

    folder = user_folder(config_dir)
    members = all_members(folder)
    problems: list[str] = []
    parsed = overriding.parse(overrides, members, problems)
    composed = {} if composed is None else composed
    tree, choices = _compose_once(parsed.groups, folder, composed)
    base = copy.deepcopy(tree)
    overriding.apply(tree, parsed.values, problems)
    faults: list[str] = []
    config = check(_resolve(tree, problems), faults)
    # Where a member is unknown and nothing is near, the default stands in for it, and its keys say nothing.
    problems += [fault for fault in faults if fault.partition(".")[0] not in parsed.unknown_groups]
    config["ood"] = _check_ood(config.get("ood"), members["dataset"], folder, composed, problems)
    _require_none(problems)
    _require_none(run_dir_faults(config["run_dir"]))
    for group, choice in choices.items():
        if "name" in config.get(group, {}):
            config[group]["name"] = config[group]["name"] or choice
    config["config_dir"] = str(folder) if folder else None
    overridden = {override.key_or_group for override in parsed.values}
    config |= _told_of(tree, overridden, choices, folder)
    if config["run_dir"] is None:
        config["run_dir"] = default_run_dir(config, base, overridden, choices, _default_choices())
    return OmegaConf.create(config)


def _told_of(
    tree: "DictConfig", overridden: set[str], choices: Mapping[str, str | None], folder: Path | None
) -> dict[str, Any]:
    """What set the values that a training tells, and which sizes of networks a preset has made smaller."""
    from genseg_betty.config.origins import find_origins, find_reduced

    places = [folder, conf_dir()] if folder else [conf_dir()]
    files = [place / "experiment" / f"{choices.get('experiment')}.yaml" for place in places]
    experiment = next((file for file in files if file.is_file()), None)
    return {"origins": find_origins(tree, overridden, choices, experiment), "reduced": find_reduced(tree)}


def load_dataset_config(
    name: str,
    root: str | Path | None = None,
    config_dir: str | Path | None = None,
    overrides: Sequence[str] = (),
) -> "DictConfig":
    """The checked config of one dataset, without a training around it.

    `overrides` are keys of the dataset with or without `dataset.` before them: `root=/data/x`, `n_test=50`.
    Raises ConfigError as `compose`.
    """
    from omegaconf import OmegaConf

    from genseg_betty.config import overrides as overriding

    folder = user_folder(config_dir)
    members = all_members(folder)
    problems: list[str] = []
    parsed = overriding.parse(map(overriding.in_dataset, overrides), members, problems)
    if name not in members["dataset"]:
        problems.append(overriding.unknown_member("dataset", name, members["dataset"]))
        _require_none(problems)
    tree, _ = _compose_groups({"dataset": name}, folder)
    overriding.apply(tree, parsed.values, problems)
    if root is not None:
        tree.dataset.root = str(root)
    dataset = check_dataset_section(_resolve(tree, problems).get("dataset"), problems)
    _require_none(problems)
    return OmegaConf.create({**dataset, "name": dataset["name"] or name})


def _require_none(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError([spell_out(problem) for problem in problems])


def _check_ood(
    entries: Any, names: Sequence[str], folder: Path | None, composed: Composed, problems: list[str]
) -> Any:
    """`ood` converted: names of datasets, or mappings of a name and keys of that dataset; faults go to `problems`."""
    from genseg_betty.config import overrides as overriding

    if not isinstance(entries, list):
        return entries
    converted = []
    for entry in entries:
        name, keys = (entry.get("name"), entry) if isinstance(entry, dict) else (entry, {})
        if not isinstance(name, str) or name not in names:
            problem = overriding.unknown_member("dataset", show(name), names)
            problems.append(problem.replace("dataset=", "ood: ", 1))
        elif keys:
            tree, _ = _compose_once({"dataset": name}, folder, composed)
            faults: list[str] = []
            checked = check_dataset_section({**_resolve(tree, problems)["dataset"], **keys}, faults)
            problems += [f"ood: {name}: {fault.replace('dataset.', '')}" for fault in faults]
            entry = {key: checked.get(key, value) for key, value in keys.items()}
        converted.append(entry)
    return converted


def _compose_once(
    groups: Mapping[str, str], folder: Path | None, composed: Composed
) -> tuple["DictConfig", dict[str, str | None]]:
    """`_compose_groups` of what is not in `composed` yet: Hydra takes a tenth of a second."""
    key = (*sorted(groups.items()), folder)
    if key not in composed:
        composed[key] = _compose_groups(groups, folder)
    return copy.deepcopy(composed[key])


def _compose_groups(groups: Mapping[str, str], folder: Path | None) -> tuple["DictConfig", dict[str, str | None]]:
    """Hydra's composition of the chosen group members, and the member of every group in the end."""
    import hydra
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    lines = [f"{group}={member}" for group, member in groups.items()]
    if folder:
        quoted = f"file://{folder}".replace("'", "\\'")
        lines.append(f"hydra.searchpath=['{quoted}']")
    try:
        with _hydra_of_our_own():
            tree = hydra.compose("config", lines, return_hydra_config=True)
    except (HydraException, OmegaConfBaseException, YAMLError, OSError, ValueError, RecursionError) as error:
        raise ConfigError([f"the YAML files cannot be composed: {error}"]) from error
    choices = {group: tree.hydra.runtime.choices.get(group) for group in group_names()}
    OmegaConf.set_struct(tree, False)
    del tree["hydra"]
    for group, choice in choices.items():  # a copied file keeps the name that its first owner gave it
        if choice and "name" in (tree.get(group) or {}):
            tree[group].name = choice
    return tree, choices


@contextmanager
def _hydra_of_our_own() -> Iterator[None]:
    """Hydra on conf/. A sweep, or the user's own program, may have called us from within theirs: it comes back."""
    import hydra
    from hydra.core.global_hydra import GlobalHydra
    from hydra.version import VersionBase

    theirs, version_base = GlobalHydra.instance().hydra, VersionBase.instance().version_base
    GlobalHydra.instance().clear()
    try:
        with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = theirs
        VersionBase.instance().version_base = version_base


def _default_choices() -> dict[str, str | None]:
    from omegaconf import OmegaConf

    entries = OmegaConf.to_container(OmegaConf.load(conf_dir() / "config.yaml").defaults)
    assert isinstance(entries, list)
    return {group: member for entry in entries if isinstance(entry, dict) for group, member in entry.items()}


def _resolve(tree: "DictConfig", problems: list[str]) -> dict[str, Any]:
    """Plain values. An interpolation that leads nowhere is a problem, and its key is then missing."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from genseg_betty.config import overrides as overriding

    for _ in range(MOST_LOST):
        try:
            return OmegaConf.to_container(tree, resolve=True)  # type: ignore[return-value]
        except OmegaConfBaseException as error:
            key, reason = error.full_key or "", str(error).partition("\n")[0]
            problems.append(f"{key}: an interpolation cannot be resolved: {reason}")
            if not overriding.drop(tree, key):
                break
    raise ConfigError([spell_out(problem) for problem in problems])
