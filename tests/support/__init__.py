"""What several tests share: nets, random programs, the oracle, a browser."""
