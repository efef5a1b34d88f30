"""Display names of methods, and the order of their rows in a table.

The order is the paper's Table 2 (RCT, OBS, both), then the methods that this
package adds, then the yardsticks, which are not methods.
"""

_DISPLAY = {
  "TSM-SL-RCT": "TSM-SL (RCT)",
  "TSM-CF-RCT": "TSM-CF (RCT)",
  "DHCL": "DHCL",
  "DFCL-DPL": "DFCL-DPL",
  "DFCL-DIFD": "DFCL-DIFD",
  "DFCL-PPL": "DFCL-PPL",
  "DFCL-PIFD": "DFCL-PIFD",
  "TSM-SL-OBS": "TSM-SL (OBS)",
  "TSM-CF-OBS": "TSM-CF (OBS)",
  "IPS": "IPS",
  "DR-JT": "DR-JT",
  "CFR-WASS": "CFR-WASS",
  "CFR-MMD": "CFR-MMD",
  "DragonNet": "DragonNet",
  "TSM-SL-BOTH": "TSM-SL (RCT+OBS)",
  "CausE": "CausE",
  "KD-Label": "KD-Label",
  "KD-Feature": "KD-Feature",
  "LTD-IPS": "LTD-IPS",
  "LTD-DR": "LTD-DR",
  "AutoDebias": "AutoDebias",
  "UNION-w": "Weighted union",
  "FT": "Fine-tuning",
  "FT-PPL": "Fine-tuning with PPL",
  "FT-ENS": "Fine-tuned ensemble",
  "KD-FT": "Distilled fine-tuned ensemble",
  "AVG": "Weighted average",
  "AVG2": "Weighted average, two weights",
  "AVG-score": "Weighted average of scores",
  "MEAN-W": "Average of weights",
  "STACK": "Stacking",
  "RES": "Residual correction",
  "SEED-2": "Two seeds",
  "GROUND": "Grounding",
  "SHARED": "Shared representation",
  "RESPONSE": "Response model",
  "DIRECT": "Direct, single level",
  "FROZEN": "Frozen gates",
  "Bi-DFCL-PPL-explicit": "Bi-DFCL-PPL (explicit)",
  "Bi-DFCL-PIFD-explicit": "Bi-DFCL-PIFD (explicit)",
  "Bi-DFCL-PPL": "Bi-DFCL-PPL",
  "Bi-DFCL-PIFD": "Bi-DFCL-PIFD",
  "RANDOM": "Random arm",
  "BEST-ARM": "Best single arm",
  "ORACLE": "Oracle",
}
_ORDER = {name: place for place, name in enumerate(_DISPLAY)}

# Rows of evaluation: shown for scale, never tested, never a rival.
YARDSTICKS = frozenset({"RANDOM", "BEST-ARM", "ORACLE"})

# What a bi-level method has to beat before it earns its cost.
SIMPLE_RIVALS = (
  "TSM-SL-RCT",
  "TSM-SL-OBS",
  "TSM-SL-BOTH",
  "AVG",
  "FT",
  "FROZEN",
)


def display_name(method: str) -> str:
  """Returns the name for readers; an unknown method keeps its own."""
  return _DISPLAY.get(method, method)


def table_order(methods: list[str]) -> list[str]:
  """Sorts methods as the tables show them; unknown ones follow as given."""
  return sorted(methods, key=lambda name: _ORDER.get(name, len(_ORDER)))
