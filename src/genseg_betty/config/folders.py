"""The folders of YAML files, ours and the user's own: which groups there are, and what each can be set to."""

from pathlib import Path

from genseg_betty.config.wording import show
from genseg_betty.errors import UserError


def conf_dir() -> Path:
    """The folder of the Hydra groups: inside an installed package, or conf/ of a checkout."""
    package = Path(__file__).resolve().parents[1]
    checkout = package.parents[1]
    for folder in (package / "conf", checkout / "conf"):
        if (folder / "config.yaml").is_file():
            return folder
    raise UserError(f"the folder conf/ is missing beside {package}: install genseg-betty anew")


def group_names() -> list[str]:
    """The groups that can be chosen from: the folders of conf/."""
    return sorted(folder.name for folder in conf_dir().iterdir() if folder.is_dir())


def group_members(group: str, config_dir: str | Path | None = None) -> list[str]:
    """What `group` can be set to, the YAML files of the user's own folder included."""
    folders = [conf_dir()]
    if config_dir:
        folders.append(Path(config_dir))
    names: set[str] = set()
    for folder in folders:
        files = (folder / group).glob("*.yaml")
        names.update(file.stem for file in files)
    return sorted(names)


def find_member_file(group: str, member: str | None, folder: Path | None) -> Path | None:
    """The YAML file of a member; that of the user's own `folder` goes before ours."""
    folders = [folder, conf_dir()] if folder else [conf_dir()]
    for place in folders:
        file = place / group / f"{member}.yaml"
        if file.is_file():
            return file
    return None


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
