"""What task-isolated attention and gathered experts save: ``python -m benchmarks.aggregator [--tiles 10000]``.

The same block in three ways, with equal answers: split (ours: tiles by flash attention, each token by itself), one
scaled-dot-product attention over [tokens; tiles] with a boolean mask, and a dense softmax matrix with that mask. Peak
memory of forward and backward is measured in a process of its own each, above an idle process with the same inputs.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.harness import Goal, Table, compare, write_json
from napari_mtlpath.nn.attention import Mixing, TaskIsolatedAttention
from napari_mtlpath.nn.expert import Expert, ExpertMixing

WIDTH, HEADS, TASKS = 256, 4, 10
WAYS = ("split", "masked", "dense")


def inputs(tiles: int, tasks: int) -> tuple[TaskIsolatedAttention, Tensor, Tensor]:
    torch.manual_seed(0)
    layer = TaskIsolatedAttention(WIDTH, heads=HEADS, dropout=0.0, mixing=Mixing.FULL)
    return layer, torch.randn(tasks, WIDTH), torch.randn(tiles, WIDTH)


def split(layer: TaskIsolatedAttention, tokens: Tensor, tiles: Tensor) -> Tensor:
    memory = layer.remember(tiles)
    read = [token + layer.read(token, memory).update for token in tokens.split(1)]
    return torch.cat([*read, layer.mix(tiles, memory)])


def joint(layer: TaskIsolatedAttention, tokens: Tensor, tiles: Tensor, *, dense: bool) -> Tensor:
    rows, count = torch.cat([tokens, tiles]), len(tokens)
    normed = layer.norm(rows)
    query, key, value = (
        part.reshape(1, len(rows), HEADS, -1).transpose(1, 2)
        for part in (layer.query(normed), *layer.key_value(normed).chunk(2, dim=1))
    )
    mask = torch.zeros(len(rows), len(rows), dtype=torch.bool)
    mask[:, count:] = True
    mask[:count, :count] = torch.eye(count, dtype=torch.bool)
    if dense:
        logits = (query @ key.transpose(2, 3) / (WIDTH // HEADS) ** 0.5).masked_fill(~mask, -torch.inf)
        mixed = torch.softmax(logits, dim=-1) @ value
    else:
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    return rows + layer.output(mixed[0].transpose(0, 1).flatten(1))


def run(way: str, layer: TaskIsolatedAttention, tokens: Tensor, tiles: Tensor) -> Tensor:
    return split(layer, tokens, tiles) if way == "split" else joint(layer, tokens, tiles, dense=way == "dense")


def peak_mib() -> float:
    status = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 1024


def measure_peak(way: str, tiles: int) -> None:
    """Print what one forward and backward pass adds to this process (run in a child of :func:`peak_of`)."""
    layer, tokens, bag = inputs(tiles, TASKS)
    run(way, layer, tokens[:1], bag[:64]).sum().backward()
    before = peak_mib()
    run(way, layer, tokens, bag).sum().backward()
    print(peak_mib() - before)


def peak_of(way: str, tiles: int) -> float:
    command = [sys.executable, "-m", "benchmarks.aggregator", "--peak", way, "--tiles", str(tiles)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def attention_tables(tiles: int, rounds: int) -> dict[str, Table]:
    layer, tokens, bag = inputs(tiles, TASKS)
    with torch.inference_mode():
        for way in WAYS:
            expected, few = run("split", layer, tokens, bag[:500]), run(way, layer, tokens, bag[:500])
            torch.testing.assert_close(few, expected, atol=1e-5, rtol=1e-5)
        forward = compare(
            {way: lambda way=way: run(way, layer, tokens, bag) for way in ("split", "masked")}, rounds=rounds
        )
        few_layer, many_tokens, few_bag = inputs(2000, 13)
        tasks = compare(
            {
                "3 tasks": lambda: split(few_layer, many_tokens[:3], few_bag),
                "13 tasks": lambda: split(few_layer, many_tokens, few_bag),
            },
            rounds=max(9, rounds),
        )
    return {"attention forward": forward, "extra tasks, 2000 tiles": tasks}


def experts_table(share: float, rounds: int) -> Table:
    """Compare experts on gathered tiles with experts on all tiles, the unchosen masked, forward and backward."""
    torch.manual_seed(0)
    tiles, token = torch.randn(2000, WIDTH), torch.randn(1, WIDTH)
    experts = [
        Expert(WIDTH, heads=HEADS, hidden=2 * WIDTH, dropout=0.0, mixing=ExpertMixing.MLP, token_dropout=0.0)
        for _ in range(TASKS)
    ]
    chosen = [torch.randperm(len(tiles))[: int(share * len(tiles))] for _ in experts]

    def gathered() -> None:
        leaf = tiles.clone().requires_grad_()
        total = torch.zeros(())
        for expert, index in zip(experts, chosen, strict=True):
            kept = leaf[index]
            routed = expert(token, kept, torch.zeros(len(index)), write=True)
            total = total + leaf.index_add(0, index, routed.tiles - kept).mean() + routed.token.mean()
        total.backward()

    def masked() -> None:
        leaf = tiles.clone().requires_grad_()
        total = torch.zeros(())
        for expert, index in zip(experts, chosen, strict=True):
            mask = torch.zeros(len(tiles), 1).index_fill(0, index, 1.0)
            routed = expert(token, leaf, mask[:, 0].log(), write=True)
            total = total + (leaf + mask * (routed.tiles - leaf)).mean() + routed.token.mean()
        total.backward()

    return compare({"gathered": gathered, "masked": masked}, rounds=rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peak", choices=WAYS, help="only measure the peak memory of one way, in this process")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    if chosen.peak:
        measure_peak(chosen.peak, chosen.tiles)
        return
    peaks = {way: peak_of(way, chosen.tiles) for way in WAYS}
    tables = attention_tables(chosen.tiles, chosen.rounds)
    for share in (0.46, 0.03):
        tables[f"experts, {share:.0%} chosen"] = experts_table(share, max(9, chosen.rounds))
    pair = tables["extra tasks, 2000 tiles"].measurements
    extra = (pair["13 tasks"].cpu_median / pair["3 tasks"].cpu_median - 1) / 10
    goals = [
        Goal(
            name="split over masked attention, forward",
            value=tables["attention forward"].ratio("split", "masked").median,
            limit=0.80,
        ),
        Goal(name="split over dense, peak memory", value=peaks["split"] / peaks["dense"], limit=0.12),
        Goal(name="split over masked, peak memory", value=peaks["split"] / peaks["masked"], limit=0.40),
        Goal(name="an extra task of one attention layer, 2000 tiles", value=extra, limit=0.01),
        Goal(
            name="gathered over masked experts, 46% chosen",
            value=tables["experts, 46% chosen"].ratio("gathered", "masked").median,
            limit=0.55,
        ),
        Goal(
            name="gathered over masked experts, 3% chosen",
            value=tables["experts, 3% chosen"].ratio("gathered", "masked").median,
            limit=0.10,
        ),
    ]
    for name, table in tables.items():
        print(f"\n{name}\n{table.show(next(reversed(table.measurements)))}")
    print("\npeak memory added, forward and backward, MiB: " + ", ".join(f"{w} {p:.0f}" for w, p in peaks.items()))
    print(*goals, sep="\n")
    print(write_json("aggregator", goals=goals, tables=tables, peaks_mib=peaks, tiles=chosen.tiles))


if __name__ == "__main__":
    main()
