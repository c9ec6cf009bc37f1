"""gradcheck, difference quotients of the whole function and of each operation."""

from tinygrad_bp.check.gradcheck.differences import Report, Row, gradcheck

__all__ = ["Report", "Row", "gradcheck"]
