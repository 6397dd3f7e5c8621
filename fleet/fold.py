#!/usr/bin/env python3
"""Folds many profiles with Spark: one folded profile and one flame graph for each label.

    spark-submit --files fg-fold fleet/fold.py INPUT... --output DIR [--by host,build] [--diff BASE]

INPUT is a file, a folder or a glob on any file system that Spark reads: recordings of perf and
fg-record, folded stacks, or anything else that fg-fold reads, packed or not. Labels are parts of the
path, as in `bucket/host=a/build=1.2/x.folded`; --by chooses those that are kept apart.

DIR gets a folder for each label with `stacks.folded`, `graph.html` and, with --diff, `movers.md`;
`index.tsv`, which lists the folders; and `problems.tsv`, which lists the inputs that could not be
folded, are empty, or lost something, and the folders whose inputs have different units. Without --by everything is one profile, in DIR itself.

--files ships the static fg-fold to the workers. fg-render and fg-diff run on the driver, which finds
them in its PATH.

Exit status: 0, or 1 if nothing could be folded, or 3 with --strict if any input has a problem.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import zlib
from operator import add
from pathlib import Path
from urllib.parse import quote

from pyspark import SparkContext, SparkFiles

# The key of an input with a problem, in place of its labels.
PROBLEM = None
# The unit is passed on like a stack. Its weight is 0, so it survives sums.
UNIT = b"# unit: "
NO_UNIT = UNIT + b"none"


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT")
    parser.add_argument("--output", required=True, metavar="DIR")
    parser.add_argument("--by", default="", metavar="KEY,...", help="labels to keep apart")
    parser.add_argument(
        "--diff",
        metavar="BASE",
        help="compare each profile with this folded file, or with the label BASE, as in build=1.2",
    )
    parser.add_argument(
        "--min-weight",
        metavar="WEIGHT",
        help="cut stacks that are lighter in their input, such as 0.01%%, to bound the shuffle",
    )
    parser.add_argument(
        "--fold-options", default="", metavar="WORDS", help="more options for fg-fold"
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with 3 if any input has a problem"
    )
    return parser.parse_args()


def program(name):
    """Finds a program among the files that spark-submit ships, or in PATH."""
    shipped = SparkFiles.get(name)
    return shipped if os.path.exists(shipped) else shutil.which(name) or name


def labels_of(path, keys):
    """The labels of an input, as in `('host=a', 'build=1.2')`."""
    pairs = dict(part.split("=", 1) for part in path.split("/") if "=" in part)
    return tuple(f"{key}={pairs.get(key, 'unknown')}" for key in keys)


def fold(data, options):
    """Folds the bytes of a profile. Returns the folded text, and what is wrong with it, if anything."""
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        run = subprocess.run(
            [program("fg-fold"), "--quiet", "--allow-empty", "--report", report.name, *options],
            input=data,
            capture_output=True,
            check=False,
        )
        if run.returncode != 0:
            words = run.stderr.decode(errors="replace").split("\n")[0]
            return b"", words or f"fg-fold ended with {run.returncode}"
        losses = json.loads(Path(report.name).read_bytes())["losses"]
    if not run.stdout:
        return b"", "no samples"
    words = ", ".join(f"{loss}: {count}" for loss, count in losses.items())
    return run.stdout, words or None


def fold_inputs(inputs, keys, options):
    """Yields ((labels, stack), weight) for the stacks of a partition, and the problems of inputs."""
    for path, data in inputs:
        text, problem = fold(data, options)
        if problem:
            yield (PROBLEM, path.encode()), problem
        labels = labels_of(path, keys)
        if text and not text.startswith(UNIT):
            yield (labels, NO_UNIT), 0
        for line in text.split(b"\n")[:-1]:
            stack, weight = line.rsplit(b" ", 1)
            yield (labels, stack), int(weight)


def finish(stacks):
    """Puts the summed stacks of one label in order, as fg-fold writes them. Returns them, and what is
    wrong with them, if anything."""
    stacks = dict(stacks)
    units = sorted(stack.removeprefix(UNIT).decode() for stack in stacks if stack.startswith(UNIT))
    stacks.pop(NO_UNIT, None)
    lines = b"".join(b"%s %d\n" % item for item in stacks.items())
    text, _ = fold(lines, ["--format", "folded"])
    mixed = f"inputs in different units ({', '.join(units)}): their sum means nothing"
    return text, mixed if len(units) > 1 else None


def partition(key):
    """The same number for the same key on all workers, which Python's hash does not promise."""
    return zlib.crc32(repr(key).encode())


class Output:
    """A folder on any file system that Spark writes."""

    def __init__(self, spark, folder):
        self.path = spark._jvm.org.apache.hadoop.fs.Path
        self.folder = folder
        self.files = self.path(folder).getFileSystem(spark._jsc.hadoopConfiguration())
        # No .crc beside each file.
        self.files.setWriteChecksum(False)

    def copy(self, file, name):
        target = self.path(f"{self.folder}/{name}")
        self.files.copyFromLocalFile(False, True, self.path(f"file://{file}"), target)


def fetch(spark, source, file):
    """Copies a file from any file system to this machine, if there is one."""
    source = spark._jvm.org.apache.hadoop.fs.Path(source)
    files = source.getFileSystem(spark._jsc.hadoopConfiguration())
    if files.exists(source):
        files.copyToLocalFile(source, spark._jvm.org.apache.hadoop.fs.Path(f"file://{file}"))


def folder_of(labels):
    """`host=a/build=1.2`"""
    return "/".join(quote(label, safe="=+,@ ") for label in labels) or "."


def base_of(labels, base):
    """The labels that a profile is compared with: `build=1` in place of its own build."""
    key = base.split("=", 1)[0] + "="
    return tuple(base if label.startswith(key) else label for label in labels)


def make(command, **options):
    """Runs one of our programs on the driver, and ends with its message if it fails."""
    run = subprocess.run([program(command[0]), *command[1:]], check=False, **options)
    if run.returncode:
        sys.exit(f"fold.py: {command[0]} ended with {run.returncode}")


def fold_all(spark, inputs, keys, options, scratch):
    """Folds the inputs into a file in `scratch` for each label. Returns these, and the problems."""
    summed = (
        spark.binaryFiles(",".join(inputs), spark.defaultParallelism)
        .mapPartitions(lambda inputs: fold_inputs(inputs, keys, options))
        .reduceByKey(add, partitionFunc=partition)
        .persist()
    )
    problems = [
        (path.decode(errors="replace"), why)
        for (_, path), why in summed.filter(lambda item: item[0][0] is PROBLEM).collect()
    ]
    profiles = (
        summed.filter(lambda item: item[0][0] is not PROBLEM)
        .map(lambda item: (item[0][0], (item[0][1], item[1])))
        .groupByKey(partitionFunc=partition)
        .mapValues(finish)
    )
    files = {}
    for labels, (text, problem) in profiles.toLocalIterator():
        files[labels] = scratch / f"{len(files)}.folded"
        files[labels].write_bytes(text)
        if problem:
            problems.append((folder_of(labels), problem))
    return files, problems


def main():
    arguments = parse_arguments()
    keys = [key for key in arguments.by.split(",") if key]
    options = shlex.split(arguments.fold_options)
    if arguments.min_weight:
        options.append(f"--min-weight={arguments.min_weight}")
    if arguments.strict:
        options.append("--strict")
    is_label = arguments.diff and arguments.diff.split("=", 1)[0] in keys
    spark = SparkContext.getOrCreate()
    spark._jsc.hadoopConfiguration().set(
        "mapreduce.input.fileinputformat.input.dir.recursive", "true"
    )

    # What would spoil the result after hours is better said now.
    for name in ["fg-render"] + ["fg-diff"] * bool(arguments.diff):
        if not shutil.which(program(name)):
            sys.exit(f"fold.py: there is no {name} in PATH on the driver")
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch, "base.folded")
        if arguments.diff and not is_label:
            fetch(spark, arguments.diff, base)
            if not base.exists():
                sys.exit(f"fold.py: --diff {arguments.diff} is no file, nor a label of --by")
        files, problems = fold_all(spark, arguments.inputs, keys, options, Path(scratch))

        output = Output(spark, arguments.output)
        index = ["folder\tstacks\tweight"]
        for labels, file in sorted(files.items()):
            folder = folder_of(labels)
            lines = [line for line in file.read_bytes().splitlines() if line[:2] != b"# "]
            weight = sum(int(line.rsplit(b" ", 1)[1]) for line in lines)
            index.append(f"{folder}\t{len(lines)}\t{weight}")
            output.copy(file, f"{folder}/stacks.folded")
            graph = file.with_suffix(".html")
            title = ", ".join(labels) or "all profiles"
            make(["fg-render", "--quiet", "--title", title, "-o", graph, file])
            output.copy(graph, f"{folder}/graph.html")
            if arguments.diff:
                before = files.get(base_of(labels, arguments.diff)) if is_label else base
                if before and before != file:
                    movers = file.with_suffix(".md")
                    make(["fg-diff", "--quiet", "--format", "md", "-o", movers, before, file])
                    output.copy(movers, f"{folder}/movers.md")
        rows = ["\t".join(word.translate({9: 32, 10: 32}) for word in row) for row in sorted(problems)]
        for name, lines in [("index.tsv", index), ("problems.tsv", ["input\twhy", *rows])]:
            table = Path(scratch, name)
            table.write_text("\n".join(lines) + "\n")
            output.copy(table, name)
    if is_label and not any(arguments.diff in labels for labels in files):
        print(f"fold.py: no profile has the label {arguments.diff}", file=sys.stderr)

    print(f"fold.py: {len(files)} profiles, {len(problems)} problems", file=sys.stderr)
    spark.stop()
    if not files:
        sys.exit(1)
    if arguments.strict and problems:
        sys.exit(3)


if __name__ == "__main__":
    main()
