"""`golden`: what one build of the server answered, asked again of the next one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from carrara.cli.bench import AddressOption, CertificatesOption, IdentityOption, TokenOption, requests_of
from carrara.cli.context import JsonOption
from carrara.cli.output import print_json, print_table, say
from carrara.core.errors import DataError

app = typer.Typer(help="What a server answered, kept to hold its next build to it.", no_args_is_help=True)


@app.command()
def record(
    endpoint: Annotated[str, typer.Argument(help="The endpoint.")],
    input: Annotated[Path, typer.Option("--input", "-i", help="Rows to ask for: CSV or Parquet.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The file to write, of TFRecords.")],
    version: Annotated[int | None, typer.Option(help="The version to ask; by default the one that answers.")] = None,
    rows: Annotated[int, typer.Option(min=1, help="Rows of a request.")] = 1,
    address: AddressOption = "grpc://127.0.0.1:8500",
    token: TokenOption = "",
    certificates: CertificatesOption = None,
    identity: IdentityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask rows of a server that is trusted, and keep what it answers."""
    from carrara.serving.client.client import Client
    from carrara.serving.golden import record

    asked = requests_of(input, rows)
    with Client(address, token=token, certificates=certificates, identity=identity) as client:
        data = record(client, endpoint, asked, version=version)
    try:
        output.write_bytes(data)
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error}") from error
    print_json({"requests": len(asked), "file": str(output)}) if as_json else say(
        f"{len(asked):,} requests in {output}"
    )


@app.command()
def check(
    file: Annotated[Path, typer.Argument(help="What `carrara golden record` wrote, or a request log.")],
    tolerance: Annotated[float, typer.Option(min=0.0, help="How far numbers may differ, of their size.")] = 0.0,
    address: AddressOption = "grpc://127.0.0.1:8500",
    token: TokenOption = "",
    certificates: CertificatesOption = None,
    identity: IdentityOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask a server what was kept; exit code 3 where it answers anything otherwise."""
    from carrara.serving.client.client import Client
    from carrara.serving.golden import check

    try:
        data = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error}") from error
    with Client(address, token=token, certificates=certificates, identity=identity) as client:
        found = check(client, data, tolerance=tolerance)
    if as_json:
        print_json(found)
    else:
        say(f"{found.asked - len(found.differences):,} of {found.asked:,} requests are answered as they were")
        if found.differences:
            rows = [(one.request, f"{one.endpoint}@{one.version}", one.why) for one in found.differences[:20]]
            print_table(["request", "version", "difference"], rows)
    if found.differences:
        raise typer.Exit(3)
