"""Models in service: versions of a registered model, whole or not there, and the aliases that point to them.

challenger   the latest version, not judged yet
champion     the one in service
previous     the one in service before, for `rollback`
"""
