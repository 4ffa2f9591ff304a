"""Arrays and receipts on disk: zarr groups that any reader opens, written once and durably."""

from daflow.storage.files import write_durably
from daflow.storage.zarr_store import ZarrStore

__all__ = ["ZarrStore", "write_durably"]
