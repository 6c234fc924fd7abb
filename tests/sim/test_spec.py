"""Machine descriptions: presets load, changes are checked, every bad file ends in one line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plait.errors import SpecError
from plait.sim.spec import accelerator_names, load_accelerator, parse_accelerator
from plait.sim.spec.yaml_file import parse_yaml, read_yaml

GOOD = """\
family: bit_serial
name: mine
clock_hz: 1e9
array:
  decode: {rows: 8, columns: 4}
  prefill: {rows: 4, columns: 8}
pe: {kind: bit_serial, lanes: 4, energy_pj: 0.5, area_um2: 1500}
buffers: {weight_bytes: 64e3, activation_bytes: 65536}
"""
PUBLISHED = {
    *("fp16-baseline", "ant", "olive", "bitmod-lossless", "bitmod-lossy", "bitmod-small"),
    *("v100", "a6000", "a100-40g", "a100-80g", "a40", "h100-sxm", "h100-pcie", "l40", "i9-13900k"),
    *("h20", "tpu-v6e", "h100", "systolic-128"),
}


def test_every_published_machine_is_a_preset() -> None:
    assert set(accelerator_names()) >= PUBLISHED


@pytest.mark.parametrize("name", accelerator_names())
def test_preset(name: str) -> None:
    machine = load_accelerator(name)
    assert machine.name == name
    assert machine.summary
    assert load_accelerator(machine) is machine
    header = Path(load_accelerator.__code__.co_filename).parent / "presets" / f"{name}.yaml"
    assert "# Source:" in header.read_text(encoding="utf-8")


def test_a_file_is_a_machine(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(GOOD)
    machine = load_accelerator(path)
    assert machine == load_accelerator(str(path)) == parse_accelerator(GOOD)
    assert (machine.clock_hz, machine.buffers.weight_bytes) == (1e9, 64000)


def test_every_field_says_what_it_is() -> None:
    def undescribed(schema: type, path: str) -> list[str]:
        from plait.sim.spec.complaint import _models_in

        missing = []
        for name, field in schema.model_fields.items():
            if not field.description:
                missing.append(f"{path}.{name}")
            for inner in _models_in(field.annotation):
                missing += undescribed(inner, f"{path}.{name}")
        return missing

    schemas = {type(load_accelerator(name)) for name in accelerator_names()}
    assert [key for schema in schemas for key in undescribed(schema, schema.__name__)] == []


def test_formats_of_a_model_and_phase() -> None:
    lossy, ant = load_accelerator("bitmod-lossy"), load_accelerator("ant")
    assert lossy.formats.resolve("any", "decode")["weight"] == 3.0625
    assert lossy.formats.resolve("any", "prefill")["weight"] == 4.0625
    assert ant.formats.resolve("yi-6b", "decode")["weight"] == 5.25
    assert ant.formats.resolve("opt-1.3b", "decode")["weight"] == 5
    assert load_accelerator("h100").formats.resolve("any", "decode") == {}
    changed = ant.with_(**{"formats.models.opt-1.3b.decode.weight": "int4"})
    assert changed.formats.resolve("opt-1.3b", "decode")["weight"] == "int4"
    assert changed.formats.resolve("opt-1.3b", "prefill")["weight"] == 5


def test_a_change_leaves_the_original() -> None:
    machine = load_accelerator("bitmod-lossy")
    wider = machine.with_(**{"array.decode.rows": 128, "vector.lanes": 16})
    assert (wider.array.decode.rows, machine.array.decode.rows) == (128, 64)
    assert (wider.vector.lanes, machine.vector.lanes) == (16, 0)
    assert wider.with_(**{"array.decode.rows": 64, "vector.lanes": 0}) == machine


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("array.decode.rows", 0, "array.decode.rows: out of range, got 0, expected at least 1"),
        ("array.decode.rows", 10**9, "out of range, got 1000000000, expected at most 4096"),
        ("array.decode.rows", "8", "wrong type, got '8', expected a whole number"),
        ("array.decode.rows", 2.5, "expected a whole number"),
        ("array.decode.rows", True, "expected a whole number"),
        ("array.decode.row", 8, "unknown key: did you mean rows?"),
        ("array.decode.rows.x", 8, "rows holds one value"),
        ("clock_hz", float("nan"), "expected a finite number"),
        ("clock_hz", -1.0, "expected more than 0"),
        ("pe.kind", "fp8", "expected 'bit_serial', 'fp16', 'ant' or 'olive'"),
        ("pe.output_accumulator_bits", 4, "narrower than pe.accumulator_bits 15"),
        ("formats.weight", 0.5, "expected a name or bits from 1 to 64"),
        ("family", "roofline", "family: not one of the choices"),
    ],
)
def test_a_bad_change_is_one_line(key: str, value: object, said: str) -> None:
    with pytest.raises(SpecError) as error:
        load_accelerator("bitmod-lossy").with_(**{key: value})
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def changed(old: str, new: str) -> str:
    assert old in GOOD
    return GOOD.replace(old, new, 1)


BAD_TEXTS = {
    "empty": ("", "expected a mapping of keys to values"),
    "only a comment": ("# nothing\n", "expected a mapping of keys to values"),
    "a number": ("3", "expected a mapping of keys to values"),
    "a list": ("- family: bit_serial\n", "expected a mapping of keys to values"),
    "no family": (changed("family: bit_serial\n", ""), "family: missing"),
    "unknown family": (changed("bit_serial", "bit_serail"), "did you mean bit_serial?"),
    "family of another type": (changed("family: bit_serial", "family: [1]"), "unknown family"),
    "family of another kind": (changed("family: bit_serial", "family: roofline"), "unknown key"),
    "no name": (changed("name: mine\n", ""), "name: missing"),
    "name with a slash": (changed("mine", "../mine"), "name: not a name"),
    "misspelt key": (changed("columns", "colums"), ":5: array.decode.colums: unknown key: did you"),
    "key of nowhere": (GOOD + "zzz: 3\n", ":9: zzz: unknown key"),
    "missing key": (changed(", area_um2: 1500", ""), ":7: pe.area_um2: missing"),
    "text for a number": (changed("clock_hz: 1e9", "clock_hz: fast"), ":3: clock_hz: wrong type"),
    "a unit on a number": (changed("1e9", "1 GHz"), "got '1 GHz', expected a number"),
    "quoted number": (changed("1e9", "'1e9'"), "got '1e9', expected a number"),
    "null": (changed("1e9", "null"), "got None, expected a number"),
    "infinite": (changed("1e9", ".inf"), "expected a number"),
    "negative": (changed("lanes: 4", "lanes: -4"), "pe.lanes: out of range, got -4"),
    "zero": (changed("1e9", "0"), "clock_hz: out of range, got 0, expected more than 0"),
    "absurd": (changed("rows: 8", "rows: 8e8"), "got 800000000, expected at most 4096"),
    "long integer": (changed("rows: 8", "rows: " + "9" * 5000), "array.decode.rows: wrong type"),
    "section that is a number": (changed("buffers: {", "buffers: 3 #{"), "expected a mapping"),
    "section that is a list": (changed("{kind: bit_serial", "[{kind: bit_serial") .replace("1500}", "1500}]"), "pe: wrong type"),  # noqa: E501
    "boolean": (changed("lanes: 4", "lanes: true"), "got True, expected a whole number"),
    "yes is text": (changed("lanes: 4", "lanes: yes"), "got 'yes', expected a whole number"),
    "octal is text": (changed("rows: 8", "rows: 010"), "got '010', expected a whole number"),
    "sexagesimal is text": (changed("rows: 8", "rows: 1:30"), "got '1:30'"),
    "duplicate key": (GOOD + "clock_hz: 2e9\n", ":9: clock_hz: given twice"),
    "duplicate nested key": (changed("rows: 8", "rows: 8, rows: 9"), "array.decode.rows: given"),
    "cut in a mapping": (GOOD[:110], "not YAML"),
    "cut between keys": (GOOD[:120], "pe: wrong type, got None"),
    "tab": (changed("  decode", "\tdecode"), "not YAML"),
    "open quote": (changed("mine", "'mine"), "not YAML"),
    "two documents": (GOOD + "---\n" + GOOD, "not YAML"),
    "alias": (changed("{rows: 8, columns: 4}", "&a {rows: 8, columns: 4}").replace("{rows: 4, columns: 8}", "*a"), "aliases"),  # noqa: E501
    "alias bomb": ("a: &a [x,x,x]\nb: &b [*a,*a,*a]\nc: &c [*b,*b,*b]\n", "aliases"),
    "alias of itself": ("a: &a [*a]\n", "aliases"),
    "python object": ("a: !!python/object/apply:os.system ['true']\n", "tags are not allowed"),
    "own tag": ("a: !thing 3\n", "tags are not allowed"),
    "key that is a list": ("? [a, b]\n: 3\n", "a key must be plain text"),
    "deep": ("a: " + "[" * 400 + "]" * 400, "nested too deeply"),
    "deeper": ("a: " + "{b: " * 90000, "<text>"),
    "control characters": ("name: \x07\n", "not YAML"),
    "serial PE with lanes": (changed("kind: bit_serial", "kind: fp16"), "has one lane"),
    "format that is no name": (GOOD + "formats: {weight: INT 4}\n", "expected a name or bits"),
    "format of no operand": (GOOD + "formats: {weights: 4}\n", "did you mean weight?"),
    "model without formats": (GOOD + "formats: {models: {a: 4}}\n", "formats.models.a"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_TEXTS)
def test_a_bad_text_is_one_line(case: str) -> None:
    text, said = BAD_TEXTS[case]
    with pytest.raises(SpecError) as error:
        parse_accelerator(text)
    message = str(error.value)
    assert said in message
    assert "\n" not in message
    assert len(message) < 400


def test_a_bad_file_is_one_line(tmp_path: Path) -> None:
    binary, large, folder = tmp_path / "b.yaml", tmp_path / "l.yaml", tmp_path / "f.yaml"
    binary.write_bytes(bytes(range(256)) * 4)
    large.write_bytes(b"#" * (1 << 21))
    folder.mkdir()
    for path, said in (
        (binary, "not text"),
        (large, "too large"),
        (folder, "cannot be read"),
        (tmp_path / "none.yaml", "cannot be read"),
        ("no\0name.yaml", "not a file name"),
        ("bitmod-losy", "did you mean bitmod-lossy"),
        ("", "unknown machine"),
    ):
        with pytest.raises(SpecError, match=said) as error:
            load_accelerator(path)
        assert "\n" not in str(error.value)


def test_errors_name_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(changed("columns: 8", "columns: 0"))
    with pytest.raises(SpecError, match=r"mine\.yaml:6: array\.prefill\.columns: out of range"):
        load_accelerator(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("45.7e9", 45.7e9), ("1e9", 1e9), ("+1.5E-3", 1.5e-3), (".5", 0.5), ("5.", 5.0), ("-7", -7),
        ("0", 0), ("'1e9'", "1e9"), ("1e9x", "1e9x"), ("on", "on"), ("true", True), ("~", None),
        ("1_000", "1_000"), ("0x10", "0x10"), ("2020-01-01", "2020-01-01"), ("1e", "1e"),
    ],
)  # fmt: skip
def test_scalars_are_read_as_people_write_them(text: str, value: object) -> None:
    read = parse_yaml(f"a: {text}").data["a"]
    assert (read, type(read)) == (value, type(value))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_damaged_files_never_escape(data: st.DataObject) -> None:
    """Whatever happens to a good file, it loads or is refused in one line."""
    text = GOOD
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        length = data.draw(st.integers(0, 12))
        text = text[:start] + data.draw(st.text(max_size=6)) + text[start + length :]
    with contextlib.suppress(SpecError):
        parse_accelerator(text)


def test_read_yaml_wants_a_mapping(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("- 1\n")
    with pytest.raises(SpecError, match="expected a mapping"):
        read_yaml(path)
