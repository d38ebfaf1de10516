"""The network of the paper (JGR-P2O), its configuration and its losses."""
