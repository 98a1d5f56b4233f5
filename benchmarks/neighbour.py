"""Training steps a second, alone and beside busy processes, by how OpenMP's threads wait.

    python benchmarks/neighbour.py [--seconds 10] [--rounds 3] [--spins 0 2000 300000] [--busy 0 1 2] [--json FILE]

EfficientNet-B3 at 160×80, batch 8, on the cores that the process may use. `--busy` counts neighbours per core, each a
process that never waits. Rows: OpenMP's own defaults, what the program chooses (`rsna.cores`), passive waiting, one
thread, and each of `--spins`. All are measured in turns, since the machine is rarely ours alone; shown is the median
of the rounds.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from common import above_zero, at_least, parser_of, write_result

from rsna.cores import available_cores, thread_settings

SIZE, BATCH = (160, 80), 8
PROGRAM = "the program"
LOAD_SECONDS = 30
"""Until the average load shows the neighbours."""
CHOSEN = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT")


def train(seconds: float) -> float:
    """Images per second of the bare training step."""
    import timm
    import torch

    torch.manual_seed(0)
    network = timm.create_model("tf_efficientnet_b3", in_chans=1, num_classes=1).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), 1e-4)
    images = torch.randn(BATCH, 1, *SIZE).to(memory_format=torch.channels_last)
    labels = torch.zeros(BATCH, 1)

    def step() -> None:
        optimiser.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(network(images), labels).backward()
        optimiser.step()

    step()
    step()
    steps, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        step()
        steps += 1
    return steps * BATCH / (time.perf_counter() - started)


@contextmanager
def neighbours(count: int) -> Iterator[None]:
    """So many processes that never wait."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def measure(environment: dict[str, str], seconds: float) -> float:
    plain = {name: value for name, value in os.environ.items() if name not in CHOSEN}
    command = [sys.executable, __file__, "--child", "--seconds", str(seconds)]
    done = subprocess.run(command, env=plain | environment, check=True, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--seconds", type=above_zero, default=10)
    parser.add_argument("--rounds", type=at_least(1), default=3)
    parser.add_argument("--spins", type=at_least(0), nargs="*", default=[])
    parser.add_argument("--busy", type=at_least(0), nargs="*", default=[0, 1], help="neighbours per core")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(train(options.seconds))
        return
    for name in CHOSEN:
        os.environ.pop(name, None)
    rows: dict[str, dict[str, str]] = {
        "OpenMP's defaults": {},
        PROGRAM: {},
        "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
        "one thread": {"OMP_NUM_THREADS": "1"},
        **{f"spin {count}": {"GOMP_SPINCOUNT": str(count)} for count in options.spins},
    }
    cores = available_cores()
    rates: dict[str, dict[int, list[float]]] = {row: {busy: [] for busy in options.busy} for row in rows}
    for turn in range(options.rounds):
        for busy in options.busy:
            with neighbours(busy * cores):
                if busy:
                    time.sleep(LOAD_SECONDS)
                for row in rows:
                    environment = thread_settings({}) if row == PROGRAM else rows[row]
                    rates[row][busy].append(measure(environment, options.seconds))
                    print(f"{row}, {busy} busy a core: {rates[row][busy][-1]:.1f}", file=sys.stderr, flush=True)
        print(f"round {turn + 1} of {options.rounds}", file=sys.stderr, flush=True)
    head = "".join(f"  {f'{busy} busy a core' if busy else 'alone':>20}" for busy in options.busy)
    print(f"{'':20}{head}")
    for row in rows:
        cells = []
        for busy in options.busy:
            rate = statistics.median(rates[row][busy])
            base = statistics.median(rates["OpenMP's defaults"][busy])
            cells.append(f"  {f'{rate:.1f} ({rate / base:.2f} ×)':>20}")
        print(f"{row:20}{''.join(cells)}")
    found = [
        {"threads": row, "beside": f"{busy} busy a core", "images_per_s": round(statistics.median(rates[row][busy]), 2)}
        for row in rows
        for busy in options.busy
    ]
    write_result(options.json, {"backbone": "efficientnet_b3", "size": list(SIZE), "batch": BATCH, "rates": found})


if __name__ == "__main__":
    main()
