"""Section ``execution``: where members run."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from daflow.config.section import Problem, Section, refuse

UNITS: Final = {
    "B": 1,
    **{f"{letter}B": 1000**power for power, letter in enumerate("kMGT", start=1)},
    **{f"{letter}iB": 1024**power for power, letter in enumerate("KMGT", start=1)},
}
"""Units of memory, in bytes."""
LEAST_MEMORY: Final = 100 * 1000**2
"""Below this a worker cannot even start, bytes."""


def bytes_of(memory: str) -> int | None:
    """Return how many bytes a text such as ``2GB`` says; None: it says none."""
    number = memory.rstrip("BikKMGT")
    try:
        return int(float(number) * UNITS[memory[len(number) :].strip()])
    except (ValueError, KeyError, OverflowError):
        return None


def _an_amount_of_memory(memory: str) -> str:
    amount = bytes_of(memory)
    if amount is None:
        refuse(
            [Problem("", "not an amount of memory", repr(memory), f"a number and {', '.join(UNITS)}: 2GB")]
        )
    elif amount < LEAST_MEMORY:
        refuse([Problem("", "too little for a worker to start", repr(memory), "at least 100MB")])
    return memory


Group = Annotated[
    Literal["auto"] | Annotated[int, Field(ge=1)],
    Field(
        default="auto",
        description="How many members or slices a worker gets at a time: short ones cost less together, for "
        "they are sent, made durable and noted at once. auto: half a second's worth, by what the last ones "
        "took, and one where they take longer; 1: one at a time. The numbers do not depend on it.",
    ),
]


class LocalExecution(Section):
    """Worker processes on this machine."""

    kind: Literal["local"] = Field(default="local", description="Worker processes on this machine.")
    workers: int = Field(default=2, ge=1, description="How many processes.")
    threads: int = Field(default=1, ge=1, description="How many tasks each of them runs at once.")
    memory: Annotated[str, AfterValidator(_an_amount_of_memory)] = Field(
        default="2GB",
        description="The most that each process may use: a number and B, kB, MB, GB, MiB, GiB...",
    )
    group: Group = "auto"

    @property
    def memory_bytes(self) -> int:
        """The most that each process may use, in bytes."""
        return bytes_of(self.memory) or 0


class AddressExecution(Section):
    """The workers of a dask scheduler that already runs."""

    kind: Literal["address"] = Field(default="address", description="A dask scheduler that already runs.")
    address: str = Field(
        pattern=r"^(tcp|tls|ws|wss|ucx|inproc)://\S+$", description="Its address: tcp://host:8786."
    )
    group: Group = "auto"


ExecutionSettings = Annotated[LocalExecution | AddressExecution, Field(discriminator="kind")]
