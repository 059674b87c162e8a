"""SAP-Net for semi-supervised action quality assessment: the model, its losses and what its notebooks need."""

__version__ = "0.1.0"
