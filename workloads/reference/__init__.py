"""The networks written out in NumPy, in double precision: what every library is measured against for parity."""
