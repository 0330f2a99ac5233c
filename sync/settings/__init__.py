"""The configuration: one YAML file, whose values the environment can override."""

from sync.settings.files import (
    api_key,
    authority,
    check_files,
    panorama_password,
    read_secret,
    store_password,
    webhook,
    webhook_authority,
    webhook_secret,
)
from sync.settings.loading import load, schema
from sync.settings.models import Cluster, DeviceGroup, Settings, Source, Store
from sync.settings.sources import configuration_file

__all__ = [
    "Cluster",
    "DeviceGroup",
    "Settings",
    "Source",
    "Store",
    "api_key",
    "authority",
    "check_files",
    "configuration_file",
    "load",
    "panorama_password",
    "read_secret",
    "schema",
    "store_password",
    "webhook",
    "webhook_authority",
    "webhook_secret",
]
