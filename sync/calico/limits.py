"""The numbers Calico, Kubernetes and we ourselves put on what is written, each with its source.

Where versions of Calico differ, the strictest limit counts, so that what fits here fits everywhere.
"""

from dataclasses import dataclass
from typing import Final

# The v3 definitions in `api/config/crd` (maxItems, maxLength) of Calico's main branch; releases up
# to v3.32 bound less. A length counts characters there; bytes are never fewer.
NETS_PER_ENTITY: Final = 256
PORTS_PER_ENTITY: Final = 50
RULES_PER_DIRECTION: Final = 1024
SELECTOR_BYTES: Final = 1024

# Ours. etcd takes requests of 1.5 MiB, and server-side apply names each element of a set once more
# in its bookkeeping; sets with equal labels are one set to a selector, so parts cost nothing.
NETS_PER_SET: Final = 10_000
SET_BYTES: Final = 512 * 1024
POLICY_BYTES: Final = 512 * 1024

# Ours, for files that others apply: `kubectl apply` keeps a copy of each object in one of its
# annotations, and all of these together have at most ANNOTATION_BYTES.
APPLIED_BYTES: Final = 200 * 1024


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large the nets of a set and the whole of a policy may become, in bytes of JSON."""

    set_bytes: int = SET_BYTES
    policy_bytes: int = POLICY_BYTES


WRITTEN: Final = Sizes()
"""For an API server that we write to."""

# A set has labels and annotations beside its nets: up to 4 KiB of reasons, and a label for each
# tag. Any object has stamps, and metadata of others.
APPLIED: Final = Sizes(APPLIED_BYTES - 40 * 1024, APPLIED_BYTES - 8 * 1024)
"""For files that `kubectl apply` takes."""

# Kubernetes, `apimachinery/pkg/api/validation/objectmeta.go`; `libcalico-go/lib/validator/v3`
# holds the annotations of a rule to the same total: keys and values in bytes.
ANNOTATION_BYTES: Final = 256 * 1024

# RFC 1123, and Kubernetes' `apimachinery/pkg/util/validation/validation.go`.
NAME_LENGTH: Final = 253
LABEL_LENGTH: Final = 63

# A tier's name is also the value of the label `projectcalico.org/tier`
# (`libcalico-go/lib/validator/v3/validator.go`).
TIER_NAME_LENGTH: Final = LABEL_LENGTH

# Ours: `pan.<name>.yaml` must fit a file name of 255 bytes, with some to spare.
KEPT_NAME_LENGTH: Final = 230

# Calico reads an order as a float64: integers below 2**53 in magnitude are exact and never tie.
ORDER_MAGNITUDE: Final = 2**53
