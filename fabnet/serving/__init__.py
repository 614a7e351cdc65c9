"""A registered model that answers requests: `fabnet serve`, and the pyfunc that MLflow's own tools load."""
