"""DRAEM: reconstruction and segmentation trained on painted anomalies (Zavrtanik et al., ICCV 2021)."""
