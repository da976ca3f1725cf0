"""What order is worth: orders of known frames, networks that read order and do not, and the counts between them."""

import json
from math import comb
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from test_backbone_networks import settings
from torch import nn

from braid.backbones import inputs, model, networks
from braid.backbones.data import Evaluation
from braid.backbones.order import answers, compare, order_test, orders
from braid.backbones.pictures import Flow
from braid.errors import StoreError
from braid.store.flow import FlowWriter

N_ITEMS, HEIGHT, WIDTH = 24, 24, 32
CLASSES = ["falls", "rises"]


def entry(**changes):
    return settings("x3d", input="flow", flow="some", clip_length=4, crop=16, short_side=24, **changes)


def make_items(split="test"):
    """Return two shards of items; of half the clips motion to the right grows, of half it shrinks."""
    numbers = range(N_ITEMS)
    # fmt: off
    return pl.DataFrame({
        "item": [f"item {i}" for i in numbers],
        "clip": [f"{i:016x}" for i in numbers],
        "shard": ["ab"[i % 2] for i in numbers],
        "label": [CLASSES[i // 2 % 2] for i in numbers],
        "group": [f"group {i // 4}" for i in numbers],
        "split_1": [split if i >= 8 else ("train", "val")[i // 4] for i in numbers],
    }).with_columns(start_seconds=pl.lit(None, pl.Float64), end_seconds=pl.lit(None, pl.Float64))
    # fmt: on


def write_flow(folder, items):
    """Motion of 1, 2, 3 … pixels to the right a pair, or the same backwards, in pairs a fifth of a second apart."""
    paths = []
    for (shard,), rows in items.group_by("shard", maintain_order=True):
        paths.append(folder / f"{shard}.zarr.zip")
        with FlowWriter(paths[-1], "float16", 20, {}) as writer:
            for clip, label in rows.select("clip", "label").iter_rows():
                speeds = np.arange(1, 5, dtype=np.float32)[:: 1 if label == "rises" else -1]
                flow = np.zeros((4, 2, HEIGHT, WIDTH), np.float32)
                flow[:, 0] = speeds[:, None, None]
                writer.write(clip, np.arange(5) / 5, "ok", "", [flow])
    return {"flow": paths}


class Rule(nn.Module):
    """A network that says `rises` where a rule of the speeds of the T frames says so."""

    def __init__(self, rule):
        super().__init__()
        self.rule = rule

    def forward(self, x):
        speeds = x[:, 0, 0].mean(dim=(2, 3))  # [B, T] of u
        rises = self.rule(speeds).float()
        return torch.stack([1 - rises, rises], dim=1)


def seen(tmp_path, rule, permutations=7):
    items = make_items().with_columns(code=pl.col("label").replace_strict({"falls": 0, "rises": 1}))
    reader = Flow(entry(), inputs.MIDDLE)
    data = Evaluation(items, write_flow(tmp_path, items), reader)
    network: Any = Rule(rule)
    names, right = answers(network, reader, data, permutations, seed=0, threads=1, device="cpu")
    return compare(names, right, items.sort("shard", maintain_order=True)["group"].to_list())


def test_a_network_that_reads_order(tmp_path):
    """Growing motion to the right is, backwards, shrinking motion to the left: as a number with a sign it grows."""
    found = seen(tmp_path, lambda speeds: speeds[:, -1] > speeds[:, 0])
    of = {each["order"]: each for each in found["conditions"]}
    assert of["ordered"]["accuracy"] == 1
    assert of["reversed"]["accuracy"] == 1  # 1, 2, 3, 4 backwards is -4, -3, -2, -1
    assert of["repeated"]["accuracy"] == 0.5  # nothing changes, so that all of them fall
    assert of["repeated"]["only_ordered"] == N_ITEMS / 2 and of["repeated"]["only_this"] == 0
    assert of["repeated"]["p"] == pytest.approx(2 * 0.5 ** (N_ITEMS / 2))
    assert 0.2 < found["shuffled"]["accuracy"] < 0.8 and found["shuffled"]["permutations"] == 7
    assert found["shuffled"]["sd"] > 0 and found["shuffled"]["p"] < 0.05


def test_a_network_that_reads_the_size_of_motion_sees_it_reversed(tmp_path):
    found = seen(tmp_path, lambda speeds: speeds[:, -1].abs() > speeds[:, 0].abs())
    of = {each["order"]: each for each in found["conditions"]}
    assert of["ordered"]["accuracy"] == 1 and of["reversed"]["accuracy"] == 0
    assert of["reversed"]["p"] == pytest.approx(2 * 0.5**N_ITEMS)


def test_a_network_that_does_not_read_order(tmp_path):
    """The mean size of motion is the same in any order but where one frame stands for all."""
    found = seen(tmp_path, lambda speeds: speeds.abs().sum(dim=1) > 100)
    for each in found["conditions"]:
        assert each["accuracy"] == 0.5 and each.get("p", 1) == 1
    assert found["shuffled"]["sd"] == 0 and found["shuffled"]["p"] == 1


def test_orders_of_known_frames():
    """Two segments of three frames, u, v and grey; the sequence is that of both segments."""
    raw = torch.arange(2 * 6 * 3.0).reshape(2, 2, 3, 3, 1, 1) + 1
    found = [(name, x[:, :, :, :, 0, 0]) for name, x in orders(raw, 2, np.array([4, 9]), 3, seed=0)]
    values = raw[..., 0, 0]
    flat = values.flatten(1, 2)
    by = dict(found)
    assert [name for name, _ in found] == ["ordered", "reversed", "repeated", *["shuffled"] * 3]
    assert torch.equal(by["ordered"], values)
    assert torch.equal(by["reversed"].flatten(1, 2)[..., :2], -flat.flip(1)[..., :2])
    assert torch.equal(by["reversed"].flatten(1, 2)[..., 2], flat.flip(1)[..., 2])
    assert torch.equal(by["repeated"].flatten(1, 2), flat[:, 3:4].expand(-1, 6, -1))
    shuffled = [x.flatten(1, 2) for name, x in found if name == "shuffled"]
    for x in shuffled:
        assert x.shape == flat.shape and torch.equal(x[..., 0].sort(dim=1).values, flat[..., 0])
    assert not torch.equal(shuffled[0], shuffled[1])


def test_permutations_follow_from_the_place_of_an_item_and_not_from_its_batch():
    raw = torch.arange(12.0).reshape(3, 1, 4, 1, 1, 1)
    together = [x for _, x in orders(raw, 0, np.arange(3), 2, seed=5)]
    alone = [x for _, x in orders(raw[2:], 0, np.array([2]), 2, seed=5)]
    other = [x for _, x in orders(raw[2:], 0, np.array([2]), 2, seed=6)]
    assert all(torch.equal(x[2:], y) for x, y in zip(together, alone, strict=True))
    assert any(not torch.equal(x, y) for x, y in zip(alone, other, strict=True))


def test_counts_and_p_values():
    right = np.array([[1, 1, 1, 1, 1, 0], [1, 0, 0, 0, 0, 1], [1, 1, 1, 1, 0, 0], [1, 1, 1, 0, 0, 0]], bool)
    found = compare(["ordered", "reversed", "shuffled", "shuffled"], right, list("abcdef"))
    reverse = found["conditions"][1]
    assert (reverse["right"], reverse["only_ordered"], reverse["only_this"]) == (2, 4, 1)
    assert reverse["p"] == pytest.approx(2 * (comb(5, 0) + comb(5, 1)) / 2**5)
    assert found["shuffled"]["accuracy"] == pytest.approx((4 + 3) / 12)
    assert found["shuffled"]["sd"] == pytest.approx(1 / 6 / np.sqrt(2))


def trained(folder):
    chosen = entry()
    network = networks.make(chosen, 2, len(CLASSES))
    model.save(folder / "model.safetensors", network, chosen, CLASSES, fold="1", epoch=1)
    return folder / "model.safetensors"


@pytest.mark.parametrize("split", ["test", "val"])
def test_from_shards_to_a_file(tmp_path, split):
    items = make_items(split)
    order_test(items, "1", write_flow(tmp_path, items), trained(tmp_path), 5, tmp_path / "order.json", 1, "cpu")
    told = json.loads((tmp_path / "order.json").read_text(encoding="utf-8"))
    assert told["split"] == split and told["n"] == (16 if split == "test" else 20) and told["lacking"] == 0
    assert [each["order"] for each in told["conditions"]] == ["ordered", "reversed", "repeated", *["shuffled"] * 5]
    assert told["conditions"][0]["accuracy"] == told["conditions"][0]["right"] / told["n"]


def test_other_classes_are_refused(tmp_path):
    items = make_items().with_columns(label=pl.col("label").replace({"rises": "grows"}))
    with pytest.raises(StoreError, match="has other classes than the manifest"):
        order_test(items, "1", {}, trained(tmp_path), 5, tmp_path / "order.json", 1, "cpu")
