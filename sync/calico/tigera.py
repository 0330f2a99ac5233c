"""Objects that Tigera's Panorama integration left in a cluster, by their shape.

Source: Calico Enterprise's documentation up to 3.18, "Panorama policy integration" and "Panorama
address groups integration": sets and policies carry the annotation `firewall.tigera.io/type:
Panorama`, and their tier the label of tiers that Tigera's controllers keep. The first integration
(Calico Enterprise 2.x and 3.x before 3.11) annotated nothing; its policies select by the label
`zone`, and the last of a tier is named `…-pass-to-next-tier`.
"""

import re
from collections.abc import Mapping
from typing import Any, Final

from sync.calico.names import PANORAMA_TYPE, TYPE_ANNOTATION
from sync.calico.references import mapping

SYSTEM_TIER_LABEL: Final = "projectcalico.org/system-tier"

_FIRST_NAME = re.compile(r".+-(?:zone-.+|pass-to-next-tier)")
_FIRST_SELECTOR = re.compile(r"zone == '[^']*'|has\(zone\)")


def is_tigeras(document: Mapping[str, Any]) -> bool:
    """Whether a foreign object has the shape of one that the integration wrote."""
    metadata = mapping(document, "metadata")
    if mapping(metadata, "annotations").get(TYPE_ANNOTATION) == PANORAMA_TYPE:
        return True
    if document.get("kind") == "Tier":
        return mapping(metadata, "labels").get(SYSTEM_TIER_LABEL) == "true"
    selector = mapping(document, "spec").get("selector")
    return (
        document.get("kind") == "GlobalNetworkPolicy"
        and isinstance(selector, str)
        and _FIRST_SELECTOR.fullmatch(selector) is not None
        and _FIRST_NAME.fullmatch(str(metadata.get("name"))) is not None
    )


def written_by(document: Mapping[str, Any]) -> str:
    """Say as a clause that the integration wrote a foreign object; "" if it has another shape.

    The label of a tier is also that of tiers which other controllers of Tigera's keep.
    """
    if not is_tigeras(document):
        return ""
    if document.get("kind") == "Tier":
        return "is a tier that a controller of Tigera's keeps, as its Panorama integration does"
    return "was written by Tigera's Panorama integration"
