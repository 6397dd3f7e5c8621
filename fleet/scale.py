#!/usr/bin/env python3
"""Measures how folding many profiles grows: the figures of docs/fleet.md.

    fleet/scale.py FOLDER [PROFILES...]     (200 2000 20000)

Makes profiles as hosts of one service would: each draws its samples from the same stacks, of which a
few are common and most are rare (Zipf). Folds them with one fg-fold and with fold.py, and prints the
distinct stacks, the bytes that were shuffled, and the processor time. spark-submit, fg-fold,
fg-render and fg-diff must be in PATH.
"""

import gzip
import json
import math
import os
import random
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
# A turn of fleet/agent on a host with two busy CPUs: 10 seconds at 97 Hz.
SAMPLES = 1940
STACKS = 300_000
DEPTH = 30


def stacks(chance):
    """Stacks of a large program, as a tree: each shares its first frames with one before it."""
    made = [["main"]]
    for number in range(STACKS):
        base = made[int(len(made) * chance.random() ** 2)]
        shared = base[: chance.randint(1, len(base))]
        deep = chance.randint(1, max(1, DEPTH * 2 - len(shared)))
        own = [
            f"crate{chance.randint(0, 99)}::module::function_{chance.randint(0, 20_000)}"
            for _ in range(deep)
        ]
        made.append(shared + own)
    return [";".join(stack) for stack in made]


def generate(folder, profiles):
    """Writes the profiles, a folder for each of ten builds."""
    chance = random.Random(profiles)
    universe = stacks(random.Random(1))
    for number in range(profiles):
        build = folder / f"build={number % 10}"
        build.mkdir(parents=True, exist_ok=True)
        counts = {}
        for _ in range(SAMPLES):
            # Zipf with the exponent 1: the rank is a power of the number of stacks.
            stack = universe[int(len(universe) ** chance.random()) - 1]
            counts[stack] = counts.get(stack, 0) + 1
        text = "".join(f"service;{stack} {count}\n" for stack, count in sorted(counts.items()))
        (build / f"{number}.folded.gz").write_bytes(gzip.compress(text.encode(), 1))


def processor_time(*command, **options):
    """Runs a command. Returns its processor time, with that of its children, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(word) for word in command], check=True, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def shuffled(events):
    """The bytes that a job shuffled, from Spark's log of events."""
    total = 0
    for line in events.open():
        event = json.loads(line)
        metrics = (
            (event.get("Task Metrics") or {}) if event["Event"] == "SparkListenerTaskEnd" else {}
        )
        total += metrics.get("Shuffle Write Metrics", {}).get("Shuffle Bytes Written", 0)
    return total


def measure(folder, options):
    files = sorted(folder.rglob("*.folded.gz"))
    row = {"profiles": len(files), "packed_mb": sum(file.stat().st_size for file in files) / 1e6}
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        (scratch / "list").write_text("\n".join(map(str, files)))
        folded = scratch / "all.folded"
        fold = ["fg-fold", "--quiet", "--files-from", scratch / "list", "-o", folded]
        row["fg_fold_s"] = processor_time(*fold)
        row["stacks"] = folded.read_bytes().count(b"\n")
        events = scratch / "events"
        events.mkdir()
        logging = ["spark.eventLog.enabled=true", f"spark.eventLog.dir=file://{events}"]
        logging += ["spark.eventLog.rolling.enabled=false", "spark.eventLog.compress=false"]
        words = [word for setting in logging for word in ("--conf", setting)]
        job = ["spark-submit", "--master", "local[2]", "--driver-memory", "4g", *words]
        job += [HERE / "fold.py", folder, "--output", scratch / "out", "--by", "build", *options]
        row["spark_s"] = processor_time(*job, stderr=subprocess.DEVNULL)
        row["shuffled_mb"] = shuffled(next(events.iterdir())) / 1e6
    return row


def main():
    folder = Path(sys.argv[1])
    sizes = [int(size) for size in sys.argv[2:]] or [200, 2000, 20000]
    for options in [[], ["--min-weight", "0.1%"]]:
        rows = []
        for size in sizes:
            profiles = folder / str(size)
            if not profiles.exists():
                generate(profiles, size)
            rows.append(measure(profiles, options))
            print(
                options,
                " ".join(f"{name}={value:.1f}" for name, value in rows[-1].items()),
                flush=True,
            )
        first, last = rows[0], rows[-1]
        for name in first:
            if len(rows) > 1 and name != "profiles":
                growth = math.log(last[name] / first[name]) / math.log(
                    last["profiles"] / first["profiles"]
                )
                print(f"  {name} grows with the power {growth:.2f} of the profiles")


if __name__ == "__main__":
    os.environ.setdefault("PYTHONHASHSEED", "0")
    main()
