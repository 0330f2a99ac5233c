"""The kinds of reasons why a list or a rule is not in Calico what it is on the firewall.

A reason is a clause for people; its kind says what can be done about it
(`sync.translate.remedies`).
"""

from enum import Enum, auto


class Reason(Enum):
    """One kind of reason; a clause may have several."""

    # What is unknown of a list of addresses
    EXTERNAL_LIST = auto()
    EXTERNAL_LIST_PROBLEM = auto()
    EXTERNAL_LIST_TYPE = auto()
    PREDEFINED_LIST = auto()
    COUNTRY = auto()
    FQDN = auto()
    FQDN_ANSWERED = auto()
    FQDN_UNANSWERED = auto()
    REGISTERED = auto()
    REGISTERED_UNTOLD = auto()
    REGISTERED_DIFFERS = auto()
    REGISTERED_NEGATED = auto()
    REGISTERED_OPTIONAL = auto()
    MISSING = auto()
    OBJECT = auto()
    MAPPED = auto()
    WILDCARD = auto()
    # What Calico cannot see
    USERS = auto()
    HIP = auto()
    CATEGORY = auto()
    SCHEDULE = auto()
    CONSTRAINT = auto()
    UNREADABLE = auto()
    # Applications and services
    SERVICE = auto()
    APP_UNKNOWN = auto()
    APP_FILTER = auto()
    APP_DYNAMIC = auto()
    APP_OBJECT = auto()
    APP_PORTS = auto()
    APP_STRICT = auto()
    APP_DEFAULT = auto()
    APP_SERVICES = auto()
    APP_ANY_PORT = auto()
    APP_TABLE = auto()
    # Where a rule is, and what settings say
    FILTER = auto()
    TARGET = auto()
    TARGET_TAGS = auto()
    TARGET_SOME = auto()
    NOT_TARGETED = auto()
    NETWORKS = auto()
    NO_ZONES = auto()
    NO_MATCH = auto()
    NO_ENDS = auto()
    ACCEPTED = auto()
    POD_LABELS = auto()
