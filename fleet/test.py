"""The tests behind fleet/test. They need pyspark, chdb, duckdb, dask, java, curl and our programs in PATH."""

import os
import random
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import chdb
import duckdb

from test_agent import check_agent

HERE = Path(__file__).resolve().parent
BURN = HERE.parent / "target/debug/examples/burn"
LABELS = [("a", 1), ("a", 2), ("b", 1), ("b", 2)]
GOOD, CORRUPT, EMPTY = 200, 20, 5


def run(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, **options)


def output(*command):
    return run(*command, stdout=subprocess.PIPE).stdout


def record(bucket):
    """Fills a bucket: recordings below their labels, corrupt ones and empty ones among them."""
    for number in range(GOOD):
        host, build = LABELS[number % len(LABELS)]
        folder = bucket / f"host={host}" / f"build={build}"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{number}.data"
        run("fg-record", "--quiet", "-o", file, "--", BURN, "--ms", 10)
    chance = random.Random(27)
    for number in range(CORRUPT):
        host, build = LABELS[number % len(LABELS)]
        folder = bucket / f"host={host}" / f"build={build}"
        good = bytearray((folder / f"{number}.data").read_bytes())
        # Half are noise, half have a header that no program wrote.
        good[:8] = chance.randbytes(8)
        broken = chance.randbytes(len(good)) if number % 2 else good
        (folder / f"corrupt{number}.data").write_bytes(broken)
    for number in range(EMPTY):
        (bucket / "host=a/build=1" / f"empty{number}.data").touch()


def good_files(bucket, host="*", build="*"):
    return sorted(bucket.glob(f"host={host}/build={build}/[0-9]*.data"))


def fold(*words):
    # Without inlined functions it is four times as fast, and says as much here.
    return output("fg-fold", "--quiet", "--no-inline", *words)


def submit(master, fg_fold, bucket, folder, *options):
    shutil.rmtree(folder, ignore_errors=True)
    job = [HERE / "fold.py", bucket, "--output", folder, "--fold-options=--no-inline", *options]
    log = folder.with_suffix(".log")
    command = ["spark-submit", "--master", master, "--files", fg_fold, *job]
    with open(log, "wb") as stderr:
        status = subprocess.run(map(str, command), stderr=stderr, check=False).returncode
    assert status == (3 if "--strict" in options else 0), log.read_text()
    problems = (folder / "problems.tsv").read_text().splitlines()[1:]
    return folder, problems


def check(submitted, bucket):
    """Each profile is what fg-fold makes of the good files, byte for byte."""
    folder, problems = submitted
    assert len(problems) == CORRUPT + EMPTY, problems
    for host, build in LABELS:
        labels = f"host={host}/build={build}"
        expected = fold(*good_files(bucket, host, build))
        found = (folder / labels / "stacks.folded").read_bytes()
        assert expected == found, f"{folder}/{labels} differs"
        assert (folder / labels / "graph.html").stat().st_size > 10_000
        assert (folder / labels / "movers.md").exists() == (build != 1)


def check_units(fg_fold, scratch):
    """Units that differ are said, and what looks like a comment is a stack."""
    texts = ["# unit: ns 0\nmain;a 10\n#0 main;a 1\n", "main;a 3\n", "# unit: bytes\nmain;b 3\n"]
    for number, text in enumerate(texts):
        for host in ["a", "b"][: 2 - number // 2]:
            folder = scratch / f"units/host={host}"
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number}.folded").write_text(text)
    options = ["--by", "host", "--strict", "--fold-options=--label 'team=a b'"]
    folder, problems = submit("local[2]", fg_fold, scratch / "units", scratch / "mixed", *options)
    words = [
        "host=a\tinputs in different units (bytes, none, ns)",
        "host=b\tinputs in different units (none, ns)",
    ]
    assert [line.split(":")[0] for line in problems] == words, problems
    index = (folder / "index.tsv").read_text().splitlines()
    assert index[1:] == ["host=a\t3\t17", "host=b\t2\t14"], index
    assert "\nteam=a b;main;a 13\n" in (folder / "host=b/stacks.folded").read_text()


class Cluster:
    """A master and two workers on loopback."""

    def __init__(self, scratch):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.master = f"spark://127.0.0.1:{free.getsockname()[1]}"
        host, port = self.master.removeprefix("spark://").split(":")
        self.scratch = scratch
        self.processes = []
        master = ["Master", "--host", host, "--port", port, "--webui-port", 0]
        self.start(master, "Started daemon", "I have been elected leader")
        for number in range(2):
            folder = scratch / f"worker{number}"
            worker = ["Worker", "--host", host, "--cores", 1, "--memory", "1g", "--webui-port", 0]
            worker += ["--work-dir", folder, self.master]
            self.start(worker, "Successfully registered with master")

    def start(self, words, *signs):
        """Starts a part, and waits until its log has the last of the signs."""
        environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1"}
        command = ["spark-class", f"org.apache.spark.deploy.{words[0].lower()}.{words[0]}"]
        properties = self.scratch / "log4j2.properties"
        properties.write_text(
            "rootLogger.level = info\nrootLogger.appenderRef.stderr.ref = stderr\n"
            "appender.stderr.type = Console\nappender.stderr.name = stderr\n"
            "appender.stderr.target = SYSTEM_ERR\nappender.stderr.layout.type = PatternLayout\n"
            "appender.stderr.layout.pattern = %m%n\n"
        )
        environment["SPARK_DAEMON_JAVA_OPTS"] = f"-Dlog4j2.configurationFile=file:{properties}"
        process = subprocess.Popen(
            [*command, *map(str, words[1:])],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        self.processes.append(process)
        log = b""
        while signs[-1].encode() not in log:
            line = process.stderr.readline()
            assert line, log.decode()
            log += line
        # Whoever writes into a full pipe stops.
        subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        process.stderr.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            process.kill()
            process.wait()


# Stands for fg-fold. The first call that finds 50 others before it ends its worker: the executor,
# which is the nearest java among its ancestors, and the worker that started that.
KILLER = """#!/bin/sh
echo >>{scratch}/calls
if [ "$(wc -l <{scratch}/calls)" -gt 50 ] && mkdir {scratch}/killed 2>/dev/null; then
    pid=$$ javas=""
    while [ "$pid" -gt 1 ]; do
        [ "$(cat /proc/$pid/comm)" = java ] && javas="$javas $pid"
        pid=$(sed -n 's/^PPid:\\t//p' /proc/$pid/status)
    done
    echo "$javas" >{scratch}/killed/pids
    kill -9 $javas
fi
exec {fg_fold} "$@"
"""


def recipe(name, language):
    """The code of docs/fleet.md for an engine."""
    text = (HERE.parent / "docs/fleet.md").read_text()
    return text.split(f"**{name}", 1)[1].split(f"```{language}\n", 1)[1].split("```", 1)[0]


def check_engines(bucket, scratch):
    """The recipes of docs/fleet.md give the sums of fg-fold."""
    folder = scratch / "engines"
    profiles = folder / "profiles"
    profiles.mkdir(parents=True, exist_ok=True)
    for file in good_files(bucket)[:40]:
        shutil.copy(file, profiles)
        output("fg-fold", "--quiet", "-o", profiles / f"{file.stem}.folded", file)
    expected = output("fg-fold", "--quiet", *profiles.glob("*.folded")).splitlines()
    stacks = sorted(line for line in expected if not line.startswith(b"# "))

    def rows(result):
        return sorted(f"{stack} {weight}".encode() for stack, weight in result)

    os.chdir(folder)
    sql = recipe("ClickHouse", "sql")
    found = chdb.query(sql, "TSVRaw").bytes().decode().splitlines()
    assert rows(line.rsplit("\t", 1) for line in found) == stacks, "ClickHouse's sums differ"
    graph = f"SELECT arrayJoin(flameGraph(splitByChar(';', stack), weight)) FROM ({sql})"
    found = chdb.query(graph, "TSVRaw").bytes().splitlines()
    assert sorted(found) == stacks, "ClickHouse's flameGraph() differs"
    print("fleet: through ClickHouse: the sums of fg-fold")

    sql = recipe("DuckDB", "sql")
    assert rows(duckdb.sql(sql).fetchall()) == stacks, "DuckDB's sums differ"
    odd = b'main;operator""_x;f 3\n"a;b,\tc 4\nd" 5\n'
    (folder / "odd").mkdir()
    (folder / "odd/1.folded").write_bytes(odd)
    found = duckdb.sql(sql.replace("profiles/", "odd/")).fetchall()
    assert rows(found) == sorted(odd.splitlines()), found
    print("fleet: through DuckDB: the sums of fg-fold")

    (folder / "recipe.py").write_text(recipe("Dask", "python"))
    run(sys.executable, "recipe.py")
    found = (folder / "all.folded").read_bytes().splitlines()
    assert sorted(found) == sorted(expected), "Dask's sums differ"
    print("fleet: through Dask: the sums of fg-fold")

    # Hadoop writes a tab behind each line that has no value.
    mapper, reducer = (line.split("=", 1)[1] for line in recipe("Hadoop", "sh").splitlines()[:2])
    halves = [f"cat profiles/*{half}.folded | eval {mapper}" for half in ("[02468]", "[13579]")]
    run("sh", "-c", f"({'; '.join(halves)}) | LC_ALL=C sort >sorted")
    parts = [f"awk -F'\\t' '{{print > \"part-\" length($1) % 2}}' sorted"]
    parts += [f"eval {reducer} <part-{part} | sed 's/$/\\t/' >sum-{part}" for part in range(2)]
    run("sh", "-ec", "; ".join(parts))
    found = output("fg-fold", "--quiet", "sum-0", "sum-1").splitlines()
    assert found == expected, "the sums of Hadoop's steps differ"
    print("fleet: in Hadoop's steps: the sums of fg-fold")


def main():
    scratch = Path(sys.argv[1], "run").resolve()
    shutil.rmtree(scratch, ignore_errors=True)
    bucket = scratch / "bucket"
    fg_fold = shutil.which("fg-fold")
    record(bucket)
    by = ["--by", "host,build", "--diff", "build=1"]

    check(submit("local[2]", fg_fold, bucket, scratch / "local", *by), bucket)
    print("fleet: in one process: as fg-fold")
    check_units(fg_fold, scratch)
    print("fleet: in one process: units that differ are said")
    with Cluster(scratch) as cluster:
        whole, _ = submit(cluster.master, fg_fold, bucket, scratch / "cluster")
    assert (whole / "stacks.folded").read_bytes() == fold(*good_files(bucket))
    print("fleet: with two workers, without labels: as fg-fold")
    killer = scratch / "killer" / "fg-fold"
    killer.parent.mkdir()
    killer.write_text(KILLER.format(scratch=scratch, fg_fold=fg_fold))
    killer.chmod(0o755)
    with Cluster(scratch) as cluster:
        check(submit(cluster.master, killer, bucket, scratch / "killed-worker", *by), bucket)
    assert (scratch / "killed/pids").read_text().split(), "no worker was killed"
    print("fleet: with a worker that was killed: as fg-fold")

    check_engines(bucket, scratch)
    check_agent(scratch)
    print("fleet: the agent: pushes, waits, and bounds its spool")
    print("9 passed, 0 failed")


if __name__ == "__main__":
    main()
