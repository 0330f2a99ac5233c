"""The names of our objects: how a name from the firewall becomes one that Kubernetes accepts.

A name that is already legal stays as it is; any other is *mapped*: a readable part and eight hex
digits of the SHA-256 of the original. A legal name that looks mapped is mapped as well, so that no
kept name can be another's mapping. The original always travels in an annotation.

Every function is pure and total. Two originals with one result (their readable parts and 32 bits
of their digests agree) are for the caller to refuse.
"""

import hashlib
import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from typing import Final, Literal

from sync.calico.limits import KEPT_NAME_LENGTH, LABEL_LENGTH, NAME_LENGTH

# Whose an object is.
MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_VALUE: Final = "zonebridge"
INSTANCE: Final = "zonebridge.io/instance"
STORE: Final = "zonebridge.io/store"

# Annotations that name the record of the trail an object was written under, and the writer.
RECORD_ANNOTATION: Final = "zonebridge.io/record"
WRITER_ANNOTATION: Final = "zonebridge.io/writer"

# Calico's own label on every policy; `libcalico-go` and the admission policies both add it.
TIER_LABEL: Final = "projectcalico.org/tier"

# Labels that Calico gives to pods (both) and to what else has a namespace (the first), and that its
# selectors distinguish pods and sets by. On a set only its author puts them.
NAMESPACE_LABEL: Final = "projectcalico.org/namespace"
ORCHESTRATOR_LABEL: Final = "projectcalico.org/orchestrator"

# Labels. These keys, and the annotations below, are those of Tigera's own, withdrawn integration,
# so that its users' selectors keep their meaning.
FIREWALL_PREFIX: Final = "firewall.tigera.io"
ADDRESS_GROUP_LABEL: Final = f"{FIREWALL_PREFIX}/address-group"
LIST_LABEL: Final = f"{FIREWALL_PREFIX}/list"
EDL_LABEL: Final = f"{FIREWALL_PREFIX}/edl"

# Annotations of sets.
NAME_ANNOTATION: Final = f"{FIREWALL_PREFIX}/name"
DEVICE_GROUPS_ANNOTATION: Final = f"{FIREWALL_PREFIX}/device-groups"
OBJECT_TYPE_ANNOTATION: Final = f"{FIREWALL_PREFIX}/object-type"
TYPE_ANNOTATION: Final = f"{FIREWALL_PREFIX}/type"
ERRORS_ANNOTATION: Final = f"{FIREWALL_PREFIX}/errors"
ADDRESS_GROUP_OBJECT: Final = "AddressGroup"
EXTERNAL_LIST_OBJECT: Final = "ExternalDynamicList"
PANORAMA_TYPE: Final = "Panorama"

# The scopes that a tier is made from: a JSON list of device groups and `shared`.
SCOPES_ANNOTATION: Final = "zonebridge.io/device-groups"

# Policies of one kind and tier with one value of it are a chain, written in order.
CHAIN_ANNOTATION: Final = "zonebridge.io/chain"

# Annotations of rules.
RULE_ANNOTATION: Final = f"{FIREWALL_PREFIX}/rule"
RANK_ANNOTATION: Final = f"{FIREWALL_PREFIX}/rank"
SOURCE_ANNOTATION: Final = f"{FIREWALL_PREFIX}/source"
DESTINATION_ANNOTATION: Final = f"{FIREWALL_PREFIX}/destination"
DEVICE_GROUP_ANNOTATION: Final = f"{FIREWALL_PREFIX}/device-group"

# Tags become labels beside ours, so a tag of one of these names is mapped.
RESERVED_KEY_NAMES: Final = frozenset({"zone", "address-group", "list", "edl"})

_MAPPED_SLUG_LENGTH: Final = LABEL_LENGTH - len("-") - 8
_OUTSIDE = re.compile(r"[^a-z0-9]+")
_LOOKS_MAPPED = re.compile(r".*-[0-9a-fA-F]{8}", re.DOTALL)
_DNS_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")


def mapped(original: str) -> str:
    """A readable DNS label of at most 63 characters that represents `original`.

    `Untrust Zone` becomes `untrust-zone-220c5f21`.
    """
    slug = _OUTSIDE.sub("-", original.lower()).strip("-")[:_MAPPED_SLUG_LENGTH].strip("-")
    return f"{slug or 'x'}-{hashlib.sha256(original.encode()).hexdigest()[:8]}"


def is_dns_label(text: str, length: int = LABEL_LENGTH) -> bool:
    """Whether `text` is an RFC 1123 label of at most `length` characters."""
    return len(text) <= length and _DNS_LABEL.fullmatch(text) is not None


def is_subdomain(text: str) -> bool:
    """Whether `text` is an RFC 1123 subdomain: at most 253 characters in DNS labels."""
    return len(text) <= NAME_LENGTH and all(map(is_dns_label, text.split(".")))


def is_key_name(text: str) -> bool:
    """Whether `text` can be the part of a label or annotation key after the `/`."""
    return len(text) <= LABEL_LENGTH and _QUALIFIED.fullmatch(text) is not None


def is_label_value(text: str) -> bool:
    """Whether Kubernetes takes `text` as the value of a label; it may be empty."""
    return not text or is_key_name(text)


@lru_cache(maxsize=1024)  # every rule has the same few keys
def is_qualified_name(text: str) -> bool:
    """Whether `text` can be the key of a label: `name` or `prefix/name`.

    Source: Kubernetes' `apimachinery/pkg/util/validation/validation.go`, IsQualifiedName.
    """
    prefix, slash, name = text.rpartition("/")
    return is_key_name(name) and (not slash or is_subdomain(prefix))


def label_value(original: str) -> str:
    """The label value of a zone, an address group, a list or an EDL; never empty."""
    return original if is_key_name(original) and not _looks_mapped(original) else mapped(original)


def label_key_name(tag: str, reserved: Collection[str] = RESERVED_KEY_NAMES) -> str:
    """The name of a tag's label, after the prefix `firewall.tigera.io/`.

    `reserved` are the names that labels of ours take there; a configured zone label under
    `firewall.tigera.io` adds its own.
    """
    return mapped(tag) if tag in reserved else label_value(tag)


def set_name(group: str) -> str:
    """The GlobalNetworkSet of an address group."""
    return f"pan.{_subdomain(group)}"


def edl_name(edl: str) -> str:
    """The GlobalNetworkSet of an external dynamic list."""
    return f"pan-edl.{_subdomain(edl)}"


def list_name(nets: Iterable[str]) -> str:
    """The GlobalNetworkSet of a rule's own list of addresses, named by its canonical `nets`."""
    digest = hashlib.sha256("\n".join(nets).encode()).hexdigest()
    return f"pan-list.{digest[:16]}"


def set_part_name(original: str, number: int) -> str:
    """Part `number` (2 and up) of a set that is cut up.

    `original` is the group's name; for a list or an EDL it is the name of its set.
    """
    return f"pan-part.{mapped(original)}.{number}"


def policy_name(tier: str, zone: str) -> str:
    """The first policy of a zone's chain, in generation a."""
    keep = is_dns_label(zone) and not _looks_mapped(zone)
    return f"{tier}.pan-zone-{zone if keep else mapped(zone)}"


def policy_part_name(tier: str, zone: str, generation: Literal["a", "b"], number: int) -> str:
    """Any other policy of a zone's chain."""
    return f"{tier}.pan-part-{mapped(zone)}-{generation}{number}"


def essentials_name(tier: str, number: int = 1) -> str:
    """The policies before all chains; the first has no number."""
    return f"{tier}.pan-essentials" + (f"-{number}" if number > 1 else "")


def elsewhere_name(tier: str, number: int) -> str:
    """The policies that let pass what only other device groups of the cluster judge."""
    return f"{tier}.pan-elsewhere-{number}"


def unknown_zone_name(tier: str) -> str:
    """The last policy of a tier: pods whose zone label names no zone."""
    return f"{tier}.pan-unknown-zone"


def _subdomain(original: str) -> str:
    keep = (
        len(original) <= KEPT_NAME_LENGTH and is_subdomain(original) and not _looks_mapped(original)
    )
    return original if keep else mapped(original)


def _looks_mapped(text: str) -> bool:
    return _LOOKS_MAPPED.fullmatch(text) is not None
