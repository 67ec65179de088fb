"""Pure rules: what a run is, when it has ended, how text is made storable. No I/O, no clock."""
