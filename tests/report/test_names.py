from bidfcl_jax.report.names import (
  SIMPLE_RIVALS,
  YARDSTICKS,
  display_name,
  table_order,
)


def test_names_for_readers():
  assert display_name("TSM-SL-RCT") == "TSM-SL (RCT)"
  assert display_name("FROZEN") == "Frozen gates"
  assert display_name("my-method") == "my-method"
  known = [*SIMPLE_RIVALS, *YARDSTICKS]
  assert len({display_name(name) for name in known}) == len(known)


def test_order_is_the_papers_and_unknown_methods_follow():
  given = ["mine", "ORACLE", "Bi-DFCL-PPL", "other", "FT", "TSM-SL-RCT"]
  assert table_order(given) == [
    "TSM-SL-RCT",
    "FT",
    "Bi-DFCL-PPL",
    "ORACLE",
    "mine",
    "other",
  ]
