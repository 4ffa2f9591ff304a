"""Section ``execution``: where members run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from daflow.config.clusters import (
    HtcondorExecution,
    LsfExecution,
    MoabExecution,
    OarExecution,
    PbsExecution,
    QueueExecution,
    SgeExecution,
    SlurmExecution,
)
from daflow.config.external_models import FunctionName
from daflow.config.section import InputPath, Positive
from daflow.config.workers import LEAST_MEMORY, UNITS, Group, Memory, Silence, WorkersSection, bytes_of

__all__ = [
    "LEAST_MEMORY",
    "UNITS",
    "AddressExecution",
    "ExecutionSettings",
    "Group",
    "LocalExecution",
    "PluginExecution",
    "QueueExecution",
    "bytes_of",
]


class LocalExecution(WorkersSection):
    """Worker processes on this machine."""

    kind: Literal["local"] = Field(default="local", description="Worker processes on this machine.")
    workers: int = Field(default=2, ge=1, description="How many processes.")
    threads: int = Field(default=1, ge=1, description="How many tasks each of them runs at once.")
    memory: Memory = Field(
        default="2GB",
        description="The most that each process may use: a number and B, kB, MB, GB, MiB, GiB...",
    )
    silence: Silence = 300.0

    @property
    def memory_bytes(self) -> int:
        """The most that each process may use, in bytes."""
        return bytes_of(self.memory) or 0


class AddressExecution(WorkersSection):
    """The workers of a dask scheduler that already runs."""

    kind: Literal["address"] = Field(default="address", description="A dask scheduler that already runs.")
    address: str = Field(
        pattern=r"^(tcp|tls|ws|wss|ucx|inproc)://\S+$", description="Its address: tcp://host:8786."
    )


class PluginExecution(WorkersSection):
    """The workers of a cluster that a function of the user's, or of another package, makes."""

    kind: Literal["plugin"] = Field(
        default="plugin", description="A cluster that a function makes: Kubernetes, dask-gateway, one's own."
    )
    cluster: FunctionName = Field(
        description="'module:function' (or a class) that is called with 'arguments' and returns a "
        "distributed.deploy.Cluster, such as dask_kubernetes.operator:KubeCluster. It is closed with the run."
    )
    arguments: dict[str, Any] = Field(default_factory=dict, description="Passed to it as keywords.")
    workers: int | None = Field(
        default=None,
        ge=1,
        description="How many workers it is asked for by its scale(); null: those that the function starts.",
    )
    patience: Positive = Field(
        default=1800.0,
        description="Seconds that the run waits while none of the 'workers' that were asked for has come.",
    )
    folder: InputPath = Field(default=Path(), description="Where the module is looked for first.")


ExecutionSettings = Annotated[
    LocalExecution
    | AddressExecution
    | SlurmExecution
    | PbsExecution
    | LsfExecution
    | SgeExecution
    | OarExecution
    | HtcondorExecution
    | MoabExecution
    | PluginExecution,
    Field(discriminator="kind"),
]
