"""Data-centre cooling: a batched plant of servers, hall, air handlers and chilled water."""
