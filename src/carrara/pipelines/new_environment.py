"""A version built again in an environment that is made from its record."""

from __future__ import annotations

from pathlib import Path

import msgspec

from carrara.core.errors import CarraraError
from carrara.core.virtual_environment import make_environment, run_in
from carrara.models.registry import ModelVersion, read_record
from carrara.pipelines.reproduce import Compared, Reproduction
from carrara.storage.stores import Stores


def reproduce_in_new_environment(stores: Stores, version: ModelVersion) -> tuple[Reproduction, Path]:
    """The reproduction of a version with the Python and the distributions that trained it, as far as its fit needs
    them; and the folder of the environment, which is kept for the next time.

    Raises UnavailableError where the environment cannot be made.
    """
    record = read_record(stores, version)
    recorded = record["environment"]["distributions"]
    wanted = record["summary"].get("libraries") or sorted(recorded)
    folder = stores.root / ".carrara" / "environments"
    place = make_environment(folder, record["environment"]["python"], recorded, list(wanted))
    done = run_in(place, ["model", "reproduce", str(version), "--json", "-w", str(stores.root)])
    try:
        found = msgspec.json.decode(done.stdout)
    except msgspec.DecodeError:
        raise CarraraError(
            f"{version} could not be built again in its environment: {done.stderr.strip()}", hint=f"It is {place}."
        ) from None
    compared = tuple(Compared(one["what"], one["recorded"], one["found"]) for one in found["compared"])
    environment = {name: (then, now) for name, (then, now) in found["environment"].items() if now is not None}
    return Reproduction(found["version"], compared, environment), place
