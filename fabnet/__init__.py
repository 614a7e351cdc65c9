"""FAb-Net: a facial attribute embedding learnt from talking-face videos without labels (Wiles et al., BMVC 2018)."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fabnet.model import Model, load

__version__ = "0.2.0"
__all__ = ["Model", "__version__", "load"]


def __getattr__(name: str) -> Any:
    """`load` and `Model` of fabnet.model, which imports torch: only when they are asked for."""
    if name in ("Model", "load"):
        from importlib import import_module

        return getattr(import_module("fabnet.model"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
