"""Settings by address: read from YAML and `--set`, checked together, written back."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from scbig_dist.config import Config
from scbig_dist.errors import UserError, suggest

KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
LIMITS = {"ge": "from", "gt": "above", "le": "up to", "lt": "below", "min_length": "of a length from"}


def addresses(section: type[BaseModel] = Config, prefix: str = "") -> Iterator[str]:
    """Every address of the schema, in its order."""
    for name, field in section.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from addresses(kind, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _field(address: str) -> FieldInfo:
    section: Any = Config
    *parents, name = address.split(".")
    for parent in parents:
        section = section.model_fields[parent].annotation
    return section.model_fields[name]


def meaning(address: str) -> str:
    """The documented meaning of an address."""
    return _field(address).description or ""


def allowed(address: str) -> str:
    """What a setting may be, in words: `a whole number from 1`, `a number from 0, below 1`, `'raw' or 'decoded'`."""
    field = _field(address)
    kind = field.annotation
    if get_origin(kind) is Literal:
        *most, last = [repr(choice) for choice in get_args(kind)]
        return f"{', '.join(most)} or {last}"
    kinds = set(get_args(kind) or [kind])
    name = next(text for of, text in KINDS.items() if of in kinds)
    limits = [
        f"{word} {value}"
        for limit, word in LIMITS.items()
        for each in field.metadata
        if (value := getattr(each, limit, None)) is not None
    ]
    return " ".join([name, ", ".join(limits)]).strip() + (" (or null)" if type(None) in kinds else "")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping as {address: value}; empty sections vanish."""
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


def parse_set(options: Sequence[str]) -> dict[str, Any]:
    """`--set address=value` options as {address: value}, values read as YAML."""
    values = {}
    for option in options:
        address, equals, text = option.partition("=")
        if not equals:
            raise UserError(f"--set {option}: no '='; write --set address=value, e.g. --set flow.lr=1e-4")
        _check_address(address, "--set")
        try:
            values[address] = _scalar(text)
        except yaml.YAMLError as error:
            raise UserError(f"--set {option}: the value is not YAML ({type(error).__name__}); quote it") from None
    return values


def _scalar(text: str) -> Any:
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:  # YAML 1.1 reads 1e-4 as text
            return float(value)
        except ValueError:
            return value
    return value


def _check_address(address: str, where: str) -> None:
    if address not in addresses():
        raise UserError(f"{where}: unknown setting '{address}'; {suggest_address(address)}")


def suggest_address(address: str) -> str:
    """A clause that names the setting that was meant: by its name, then by its section; or what there is to choose from."""
    known: dict[str, list[str]] = {}
    for section, _, name in (each.rpartition(".") for each in addresses()):
        known.setdefault(section, []).append(name)
    section, _, name = address.rpartition(".")
    own = _near(address if address in known else section, known)
    if own and name in known[own]:
        return f"did you mean '{own}.{name}'?"
    if elsewhere := [f"{each}.{name}".removeprefix(".") for each, names in known.items() if name in names]:
        return "did you mean " + " or ".join(f"'{each}'" for each in elsewhere) + "?"
    if own:
        near = _near(name, known[own])
        return f"did you mean '{own}.{near}'?" if near else f"settings of {own}: {', '.join(known[own])}"
    if not section and (near := _near(name, {name: None for names in known.values() for name in names})):
        return suggest_address(near) if near not in known[""] else f"did you mean '{near}'?"
    return f"sections: {', '.join(filter(None, known))}"


def _near(name: str, choices: Iterable[str]) -> str:
    """The nearest choice, empty where none is near."""
    return next(iter(difflib.get_close_matches(name, list(choices), n=1, cutoff=0.6)), "")


def build_config(values: Mapping[str, Any], where: str = "config") -> Config:
    """A validated config from {address: value}; what is not named keeps its default."""
    tree: dict[str, Any] = {}
    for address, value in values.items():
        _check_address(address, where)
        *parents, name = address.split(".")
        branch = tree
        for parent in parents:
            branch = branch.setdefault(parent, {})
        branch[name] = value
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        first = error.errors()[0]
        address = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where}: {address}={first['input']!r}: {_wrong(address, first)}") from None
    _check_together(config, where)
    return config


def _wrong(address: str, error: Mapping[str, Any]) -> str:
    """What is wrong with a value, by what is allowed, not in pydantic's words."""
    if address not in addresses():
        return error["msg"]
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    near = (
        suggest(str(error["input"]), get_args(_field(address).annotation)) if error["type"] == "literal_error" else ""
    )
    return f"should be {allowed(address)}" + (f"; {near}" if near.startswith("did") else "")


def read_values(path: Path) -> dict[str, Any]:
    """A YAML config file as {address: value}."""
    if not path.is_file():
        beside = sorted(each.name for each in path.parent.glob("*.yaml"))
        hint = suggest(path.name, beside) if beside else "presets lie in configs/, e.g. configs/cpu_small.yaml"
        raise UserError(f"config {path}: no such file; {hint}")
    try:
        tree = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        raise UserError(f"config {path}: not YAML" + ("" if line is None else f" (line {line + 1})")) from None
    if not isinstance(tree, Mapping):
        raise UserError(f"config {path}: expected 'section: {{key: value}}', found {type(tree).__name__}")
    for name, value in tree.items():
        if name in Config.model_fields and name != "store" and not isinstance(value, Mapping):
            raise UserError(f"config {path}: '{name}' is a section; write its keys beneath it")
    values = flatten({str(k): v for k, v in tree.items()})
    for address, value in values.items():
        if isinstance(value, str) and not isinstance(_scalar(value), str):
            values[address] = _scalar(value)  # 1e-4 in a YAML 1.1 file
    return values


def load_config(path: Path | None = None, overrides: Mapping[str, Any] | None = None) -> Config:
    """The config of a YAML file (or the defaults) with overrides {address: value} on top."""
    values = read_values(path) if path is not None else {}
    where = f"config {path}" if path is not None else "config"
    if overrides:
        build_config(values, where)  # blame the file for its own mistakes, --set for the rest
        where = "--set"
    return build_config(values | dict(overrides or {}), where)


def dump_config(config: Config) -> str:
    """YAML that `load_config` reads back to the same config."""
    return yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True)


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """A copy with {address: value} replaced, validated as a whole."""
    return build_config(flatten(config.model_dump()) | dict(values), "--set")


def _check_together(config: Config, where: str) -> None:
    """Rules between fields; those against data are checked where the data is known."""
    flow, gcae = config.flow, config.gcae
    rules = [
        (
            gcae.block == "full" or gcae.encoder != "plain",
            "gcae.block=lean: plain attention has no inducing points to process; set gcae.encoder=gcae or gcae.block=full",
        ),
        (
            (config.autoencoder.accumulate or 1) <= config.autoencoder.batch,
            f"autoencoder.accumulate={config.autoencoder.accumulate} parts of autoencoder.batch={config.autoencoder.batch}"
            " cells: lower it to the batch or below, or set null",
        ),
        (gcae.width % gcae.n_heads == 0, f"gcae.width={gcae.width} is not a multiple of gcae.n_heads={gcae.n_heads}"),
        (
            flow.condition_dim % flow.n_heads == 0,
            f"flow.condition_dim={flow.condition_dim} is not a multiple of flow.n_heads={flow.n_heads}",
        ),
        (flow.width % 2 == 0, f"flow.width={flow.width} is odd; time features come in pairs"),
        *(
            (flow.accumulate % n == 0, f"flow.accumulate={flow.accumulate} is not a multiple of train.workers={n}")
            for n in (config.train.least_workers, config.train.most_workers)
        ),
        (
            flow.steps % flow.accumulate == 0,
            f"flow.steps={flow.steps} is not a multiple of flow.accumulate={flow.accumulate}",
        ),
        (
            flow.validate_every % flow.accumulate == 0,
            f"flow.validate_every={flow.validate_every} is not a multiple of flow.accumulate={flow.accumulate}",
        ),
        (
            flow.batch % flow.conditions_per_step == 0,
            f"flow.batch={flow.batch} is not a multiple of flow.conditions_per_step={flow.conditions_per_step}",
        ),
    ]
    data, stage = config.data, config.autoencoder
    rules.append(
        (
            data.pool_cells >= data.block_cells,
            f"data.pool_cells={data.pool_cells} is below data.block_cells={data.block_cells}: a pool holds many blocks; raise it",
        )
    )
    n_metacells = round(stage.metacells * stage.batch)
    rules.append(
        (
            n_metacells < stage.batch,
            f"autoencoder.metacells={stage.metacells} leaves no cell in a batch of {stage.batch}; lower it",
        )
    )
    rules.append(
        (
            config.shift.head == "none" or not flow.train_autoencoder,
            f"shift.head={config.shift.head}: cells are centred once, in latents that stay; set flow.train_autoencoder=false",
        )
    )
    baseline, workers = config.baseline, config.train.most_workers
    rules += [
        (
            baseline.batch % baseline.conditions_per_step == 0,
            f"baseline.batch={baseline.batch} is not a multiple of baseline.conditions_per_step={baseline.conditions_per_step}",
        ),
        (
            config.model.name == "scbig" or isinstance(config.train.workers, int),
            f"train.workers={config.train.workers}: baselines count their updates by workers; give a number",
        ),
        (
            config.model.name == "scbig" or baseline.conditions_per_step % workers == 0,
            f"baseline.conditions_per_step={baseline.conditions_per_step} is not a multiple of train.workers={workers}",
        ),
    ]
    for holds, message in rules:
        if not holds:
            raise UserError(f"{where}: {message}")
