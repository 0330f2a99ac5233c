"""Zonebridge brings Panorama's address groups and rules to Kubernetes as Calico policies."""

__version__ = "0.1.0"
