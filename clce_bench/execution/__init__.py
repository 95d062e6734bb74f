"""How a job runs: in a process that has torch imported, and with cells kept from an earlier try."""
