"""Models in service: versions of a registered model, each complete or absent, and the aliases that point to them.

challenger   the latest version, not judged yet
champion     the one in service
previous     the one in service before, for `rollback`
"""
