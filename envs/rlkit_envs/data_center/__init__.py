"""Data-centre cooling: a batched plant of servers, hall, air handlers, chilled water and weather."""
