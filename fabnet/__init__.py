"""FAb-Net: a facial attribute embedding learnt from talking-face videos without labels (Wiles et al., BMVC 2018)."""

__version__ = "0.1.0"
