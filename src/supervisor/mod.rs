//! nauta inside a rank: PID 1, rendezvous, journal, control server, outputs.
