"""Number formats, each defined once.

Takes values that were divided by their scale, gives codes, and codes give values, terms and bytes.
Next: plait.models.quantize (which finds the scales), plait.models.golden and plait.hwgen (which
build their decoders from the same tables).

>>> from plait.models import formats
>>> formats.get("bitmod4").grid(2)[-2:].tolist()
[12.0, 16.0]
"""

from plait.models.formats.base import Format
from plait.models.formats.packing import pack_codes, unpack_codes
from plait.models.formats.registry import get, names, register
from plait.models.formats.terms import Terms

__all__ = ["Format", "Terms", "get", "names", "pack_codes", "register", "unpack_codes"]
