"""Networks that learnt from labels: what an embedding learnt without any is compared with."""
