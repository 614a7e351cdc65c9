"""The former name of `fabnet.serving.pyfunc_model`, by which versions of fabnet 0.1 were registered.

Such a version is refused by the line about its fabnet version, instead of an ImportError.
"""

from fabnet.serving.pyfunc_model import FabnetPyfunc as Served

__all__ = ["Served"]
