"""`carrara cluster`: the servers of TensorFlow's parameter-server training."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import Annotated

import typer

from carrara.cli.context import JsonOption
from carrara.cli.output import print_json, print_table, say
from carrara.core.errors import CheckFailed

app = typer.Typer(help="The servers of a cluster that trains with parameter servers.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(help="A file with the addresses of each job.")]


@app.command()
def start(cluster: FileArgument = Path("cluster.toml")) -> None:
    """Serve every task whose address is of this machine, until it is stopped; one that is killed is started again."""
    from carrara.training.cluster.servers import keep_up
    from carrara.training.cluster.spec import read_cluster

    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    keep_up(read_cluster(cluster), say, told)


@app.command()
def server(
    cluster: Annotated[Path | None, typer.Option(help="A file with the addresses of each job.")] = None,
    job: Annotated[str | None, typer.Option(help="The job: ps or worker.")] = None,
    task: Annotated[int | None, typer.Option(min=0, help="The number of the task.")] = None,
) -> None:
    """Serve one task in this process. Without options TF_CONFIG, Slurm or Kubernetes say which."""
    from carrara.training.cluster.resolvers import Place, resolve
    from carrara.training.cluster.server import serve
    from carrara.training.cluster.spec import read_cluster

    if cluster is None and job is None and task is None:
        place = resolve(os.environ)
    else:
        if job is None or task is None:
            raise typer.BadParameter("both name the task", param_hint="--job and --task")
        place = Place(read_cluster(cluster or Path("cluster.toml")), job, task)
    address = place.cluster.task_address(place.job, place.number)
    say(f"{place.job}:{place.number} serves at {address}")
    serve(place.cluster, place.job, place.number)


@app.command()
def status(cluster: FileArgument = Path("cluster.toml"), as_json: JsonOption = False) -> None:
    """Which tasks listen; exit code 3 where one does not."""
    from carrara.training.cluster.reach import missing
    from carrara.training.cluster.spec import read_cluster

    found = read_cluster(cluster)
    gone = {one.partition(" ")[0] for one in missing(found)}
    rows = [
        {"job": job, "task": number, "address": found.task_address(job, number), "up": f"{job}:{number}" not in gone}
        for job in found.jobs
        for number in found.task_indices(job)
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(["task", "address", "up"], [(f"{r['job']}:{r['task']}", r["address"], r["up"]) for r in rows])
    if gone:
        raise CheckFailed(f"{', '.join(sorted(gone))} of {cluster} do not listen")
