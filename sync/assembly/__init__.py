"""Build what a cycle works on from the settings: sources, clusters, store and options.

The command line and the service both assemble here, so that they cannot differ.
"""

from sync.assembly.announcing import announcer
from sync.assembly.reading import sources
from sync.assembly.running import queue, steps, store_of
from sync.assembly.targets import clusters, device_groups, pod_cidrs, unreached_cluster
from sync.assembly.translation import expression_problems, options, translation_options

__all__ = [
    "announcer",
    "clusters",
    "device_groups",
    "expression_problems",
    "options",
    "pod_cidrs",
    "queue",
    "sources",
    "steps",
    "store_of",
    "translation_options",
    "unreached_cluster",
]
