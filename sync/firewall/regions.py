"""Names that rules may have for sources and destinations without any object in the configuration.

A firewall knows the addresses of these from its content, which is not read here.
"""

from typing import Final

# The countries of PAN-OS are the two-letter codes of ISO 3166-1 ("Regions", PAN-OS web interface
# help), with codes that its source of locations has besides: A1 and A2 (anonymous proxies,
# satellite providers), AP and EU (Asia/Pacific, Europe), AN (a former country), O1 (others), XK
# (Kosovo), and ZZ. A code too many only makes an object of that name unsayable.
_CODES: Final = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ
BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ
CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ
DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR
GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY
HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP
KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY
MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ
NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY
QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ
TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ
VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
A1 A2 AN AP EU O1 XK ZZ
"""
COUNTRIES: Final = frozenset(_CODES.split())

# The lists that Palo Alto keeps, by the names and the words that rules have for them ("Built-in
# External Dynamic Lists", PAN-OS administrator's guide).
LISTS: Final = frozenset(
    {
        "panw-bulletproof-ip-list",
        "panw-highrisk-ip-list",
        "panw-known-ip-list",
        "panw-torexit-ip-list",
        "Palo Alto Networks - Bulletproof IP addresses",
        "Palo Alto Networks - High risk IP addresses",
        "Palo Alto Networks - Known malicious IP addresses",
        "Palo Alto Networks - Tor exit IP addresses",
    }
)

# Content updates bring more of them, under names that begin like these.
_OF_PALO_ALTO: Final = ("panw-", "Palo Alto Networks - ")


def is_list(name: str) -> bool:
    """Whether Palo Alto keeps a list of this name, as far as names tell."""
    return name in LISTS or name.startswith(_OF_PALO_ALTO)
