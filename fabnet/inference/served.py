"""The former name of `fabnet.serving.pyfunc_model`: versions that were registered under it load their model by it."""

from fabnet.serving.pyfunc_model import FabnetPyfunc as Served

__all__ = ["Served"]
