"""The whole configuration as frozen models: every key, its unit, default and interaction.

The text under a key is its description, in the JSON Schema too. Field names are the keys.
"""

from sync.settings.models.cluster import Cluster, DeviceGroup
from sync.settings.models.section import Section
from sync.settings.models.service import Store
from sync.settings.models.settings import Settings
from sync.settings.models.source import Source
from sync.settings.models.translation import Zone, Zones

__all__ = ["Cluster", "DeviceGroup", "Section", "Settings", "Source", "Store", "Zone", "Zones"]
