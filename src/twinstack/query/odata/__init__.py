"""The expressions of `$filter` and `$orderby` (OData 4.0 URL conventions, 11.2; OGC 18-088, 9.3.3.5)."""

from twinstack.query.odata.apply import Apply, lift_apply, parse_apply
from twinstack.query.odata.grammar import parse
from twinstack.query.odata.shape import Slot, lift

__all__ = ["Apply", "Slot", "lift", "lift_apply", "parse", "parse_apply"]
