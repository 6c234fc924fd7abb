"""Graphs by hand: text, JSON, unfolding, folding, and what verify refuses."""

from __future__ import annotations

import dataclasses
import json

import pytest

from plait.errors import GraphError
from plait.models.graph import Graph, Op
from plait.models.graph.fold import fold


def layered(layers: int = 3) -> list[Op]:
    """Two linears and a residual sum a layer, with real numbers, as `name_nodes` gives them."""
    ops = [Op("embed", "embedding", width=8, parameters=80)]
    stream = "embed"
    for layer in range(layers):
        at = f"blocks.{layer}"
        ops += [
            Op(f"{at}.up", "linear", cin=8, cout=16, parameters=128, inputs=(stream,)),
            Op(f"{at}.down", "linear", cin=16, cout=8, parameters=128, inputs=(f"{at}.up",)),
            Op(
                f"{at}.add",
                "elementwise",
                "add",
                width=8,
                operands=2,
                inputs=(stream, f"{at}.down"),
            ),
        ]
        stream = f"{at}.add"
    return [*ops, Op("head", "linear", cin=8, cout=10, parameters=80, inputs=(stream,))]


def test_folding_and_unfolding_are_inverse() -> None:
    ops = layered(4)
    folded = fold(ops)
    assert [(op.path, op.count) for op in folded] == [
        ("embed", 1),
        ("blocks.*.up", 4),
        ("blocks.*.down", 4),
        ("blocks.*.add", 4),
        ("head", 1),
    ]
    assert folded[1].inputs == ("^blocks.*.add",)
    assert folded[1].first_inputs == ("embed",)
    assert list(Graph("toy", folded).verify().unfold()) == ops


def test_a_workload_says_who_feeds_an_op() -> None:
    workload = Graph("toy", fold(layered())).verify().bind("decode", 1, 4)
    up, head = 1, 4
    assert workload.columns["sources"][up] == ("^blocks.*.add",)
    assert workload.columns["sources"][head] == ("blocks.*.add",)
    twice = workload.labelled("pass 2: ")
    assert twice.columns["sources"][up] == ("^pass 2: blocks.*.add",)
    assert twice.columns["op"][3] == "pass 2: blocks.*.add"


def test_a_layer_that_differs_keeps_its_place() -> None:
    ops = layered(4)
    index = next(i for i, op in enumerate(ops) if op.path == "blocks.2.up")
    ops[index] = dataclasses.replace(ops[index], weight_format="int4", weight_bits=4.125)
    graph = Graph("toy", fold(ops)).verify()
    names = [graph.display_name(op) for op in graph.ops]
    assert names == [
        "embed",
        "blocks.0-1,3.up",
        "blocks.2.up",
        "blocks.*.down",
        "blocks.*.add",
        "head",
    ]
    assert list(graph.unfold()) == ops
    assert graph.parameters == sum(op.parameters for op in ops)


def test_a_read_across_several_layers_is_kept() -> None:
    ops = layered(4)
    index = next(i for i, op in enumerate(ops) if op.path == "blocks.3.down")
    ops[index] = dataclasses.replace(ops[index], inputs=("blocks.3.up", "blocks.0.up"))
    graph = Graph("toy", fold(ops)).verify()
    assert list(graph.unfold()) == ops


def test_numbers_that_are_no_layers_stay() -> None:
    ops = [
        Op("net.0", "linear", cin=2, cout=2),
        Op("net.1", "activation", "relu", width=2, inputs=("net.0",)),
    ]
    assert fold(ops) == tuple(ops)


def test_json_round_trip() -> None:
    graph = Graph("toy", fold(layered()), max_positions=64)
    assert Graph.from_json(graph.to_json()) == graph


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.pop("kind"), "not a graph"),
        (lambda d: d.update(ops=3), "not a graph"),
        (lambda d: d.update(name=None), "not a graph"),
        (lambda d: d["ops"].append(3), "not an op"),
        (lambda d: d["ops"][0].pop("path"), "not an op"),
        (lambda d: d["ops"][0].update(colour="red"), "not an op"),
        (lambda d: d["ops"][0].update(width="8"), "wrong type"),
        (lambda d: d["ops"][0].update(width=True), "wrong type"),
        (lambda d: d["ops"][0].update(kind="embeding"), "did you mean embedding"),
        (lambda d: d["ops"][0].update(rows="token"), "did you mean tokens"),
        (lambda d: d["ops"][1].update(cin=0), "needs cin"),
        (lambda d: d["ops"][1].update(inputs=["nobody"]), "no op of the graph"),
        (lambda d: d["ops"][1].update(layers=[2, 1]), "ascend"),
        (lambda d: d["ops"].append(d["ops"][0]), "two ops of one name"),
    ],
)
def test_a_damaged_document_is_one_line(change, message: str) -> None:
    document = json.loads(Graph("toy", fold(layered())).to_json())
    change(document)
    with pytest.raises(GraphError, match=message) as caught:
        Graph.from_json(json.dumps(document))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"'])
def test_text_that_is_no_document(text: str) -> None:
    with pytest.raises(GraphError, match="not a graph"):
        Graph.from_json(text)


def test_text_and_html_show_every_op() -> None:
    graph = Graph("<toy>", fold(layered()))
    text, page = str(graph), graph._repr_html_()
    assert text.splitlines()[0] == "<toy>: 3 layers, 5 different ops, 928 parameters"
    assert all(op.path in text and op.path in page for op in graph.ops)
    assert "<toy>" not in page


def test_op_by_name() -> None:
    graph = Graph("toy", fold(layered()))
    assert graph.op("blocks.*.up").cout == 16
    with pytest.raises(GraphError, match=r"did you mean blocks\.\*\.up"):
        graph.op("blocks.*.upp")
