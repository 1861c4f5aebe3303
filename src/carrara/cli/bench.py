"""`bench`: load on a server, and how it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from carrara.cli.context import JsonOption
from carrara.cli.output import print_json, print_table, say
from carrara.core.errors import DataError

AddressOption = Annotated[
    str, typer.Option("--address", help="The server: grpc://HOST:PORT, http://HOST:PORT, grpcs://, https://.")
]
TokenOption = Annotated[str, typer.Option(envvar="CARRARA_TOKEN", help="An API token.")]
CertificatesOption = Annotated[Path | None, typer.Option(help="Roots to trust, of a server with TLS.")]
IdentityOption = Annotated[
    tuple[Path, Path] | None,
    typer.Option(metavar="KEY CERTIFICATE", help="What to show to a server that verifies its clients: PEM files."),
]


def bench(
    endpoint: Annotated[str, typer.Argument(help="The endpoint.")],
    input: Annotated[Path, typer.Option("--input", "-i", help="Rows to ask for, in turn: CSV or Parquet.")],
    address: AddressOption = "grpc://127.0.0.1:8500",
    connections: Annotated[int, typer.Option("--connections", "-c", min=1, help="How many ask at the same time.")] = 8,
    lasts: Annotated[str, typer.Option("--for", help="How long: 10s, 1m.")] = "10s",
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Requests a second that are due, whatever the server does.")
    ] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a request.")] = 1,
    token: TokenOption = "",
    certificates: CertificatesOption = None,
    identity: IdentityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask an endpoint again and again: in a closed loop, or at a rate; latencies by percentile."""
    from carrara.core.clock import duration
    from carrara.core.environment import hardware
    from carrara.serving.client import Client
    from carrara.serving.client.bench import measure

    asked = requests_of(input, rows)
    with Client(address, token=token, retries=0, certificates=certificates, identity=identity) as client:
        client.predict(endpoint, asked[0])
        found = measure(
            endpoint,
            lambda number: client.predict(endpoint, asked[number % len(asked)]).version,
            connections=connections,
            seconds=duration(lasts).total_seconds(),
            rate=rate,
            rows=rows,
        )
    if as_json:
        print_json({**vars(found), "asked_from": hardware()})
        return
    say(f"{found.answered:,} answered in {found.seconds:.1f} s: {found.per_second:,.0f} a second")
    if found.failed:
        say("failed: " + ", ".join(f"{count:,} {code}" for code, count in sorted(found.failed.items())))
    if found.latency_ms:
        print_table([*found.latency_ms], [[f"{value:,.2f} ms" for value in found.latency_ms.values()]])
    if len(found.versions) > 1:
        say("by " + ", ".join(f"version {version}: {count:,}" for version, count in found.versions.items()))
    say(f"asked from {hardware()}")


def requests_of(path: Path, rows: int) -> list[dict[str, Any]]:
    """The columns of each request, from a file of rows."""
    import polars as pl
    from polars.exceptions import PolarsError

    try:
        frame = pl.read_parquet(path, glob=False) if path.suffix == ".parquet" else pl.read_csv(path, glob=False)
    except (PolarsError, OSError) as error:
        raise DataError(f"{path} cannot be read: {error}", hint="Give a CSV or a Parquet file.") from error
    if frame.is_empty():
        raise DataError(f"{path} has no rows")
    parts = (frame.slice(start, rows) for start in range(0, frame.height, rows))
    return [{name: part[name].to_numpy() for name in part.columns} for part in parts]
