"""Anomalies in multivariate series: detectors behind one interface, alarms, and honest metrics."""
